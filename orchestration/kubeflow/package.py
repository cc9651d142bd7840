"""A pipeline compiled for Kubeflow as a YAML file, which Kubeflow calls a package."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from files.whole import write_whole
from orchestration.freshness import SettingsFile
from pipeline.settings.errors import UsageError

# Comments are what kfp's own compiler begins its files with; every reader passes over them.
_SETTINGS = "# settings: "


def write_package(
    path: Path, documents: Iterable[dict[str, Any]], settings_file: Path | None
) -> None:
    """Writes the YAML; a reader sees the old file or the new one.

    Args:
        path: the package.
        documents: the PipelineSpec, and a PlatformSpec if there is one.
        settings_file: the TOML file that settings were read from.
    """
    text = yaml.safe_dump_all(documents, sort_keys=True)
    if settings_file:
        text = f"{_SETTINGS}{SettingsFile.read(settings_file).model_dump_json()}\n{text}"
    write_whole(path, text)


def check_settings(path: Path) -> None:
    """Makes sure that the file of settings is as it was when the package was compiled from it.

    Code and schema are compared by the steps, because they lie in the image. A file that is not
    there is not compared: a package may be submitted from another machine.

    Raises:
        UsageError: settings have changed; the message says which.
    """
    line = path.read_text().partition("\n")[0]
    if not line.startswith(_SETTINGS):
        return
    settings = SettingsFile.model_validate_json(line.removeprefix(_SETTINGS))
    changes = settings.changes() if settings.path.exists() else []
    if changes:
        raise UsageError(
            f"{path} is out of date (changed: {'; '.join(changes)}); `runner.py compile kubeflow "
            f"--output {path.parent}` with the same options as before writes it anew"
        )


def name_of(path: Path) -> str:
    """Returns the name of the pipeline in a package."""
    spec = next(yaml.safe_load_all(path.read_text()))
    return str(spec["pipelineInfo"]["name"])


def version_of(path: Path) -> str:
    """Returns a name for this version of the pipeline, which follows from the package's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
