"""Whether a compiled pipeline still is what compiling it now would give.

A compiled pipeline carries fingerprints of code, schema and settings as they were. Run after one of
these has changed, it would take results of the old ones from the cache, so that it is refused.
Nothing heavy is imported here.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from files.paths import resolved
from orchestration.ir import read_outline
from pipeline.fingerprint import NODES, TUNING_NODES, Dependencies, module_digests
from pipeline.settings.config import Config
from pipeline.settings.errors import UsageError
from pipeline.settings.load import read_settings_file

_DIGEST_LENGTH = 12
_NOT_INSTALLED = "not installed"


class Orchestrator(StrEnum):
    """What a pipeline is compiled for."""

    AIRFLOW = "airflow"
    KUBEFLOW = "kubeflow"


_COMPILED_BY = {
    Orchestrator.AIRFLOW: ("orchestration.airflow.plan", "orchestration.airflow.dag_file"),
    Orchestrator.KUBEFLOW: ("orchestration.kubeflow.compiler",),
}


class SettingsFile(BaseModel):
    """A TOML file that settings were read from, by digests: values may be secrets.

    Attributes:
        path: the file.
        values: digests of the values in it, by dotted name.
    """

    path: Path
    values: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> "SettingsFile":
        """Reads the file.

        Raises:
            UsageError: when it cannot be read or is not TOML.
        """
        values = dict(_leaves(read_settings_file(path)))
        digests = {name: _digest(values[name]) for name in sorted(values)}
        return cls(path=resolved(path), values=digests)

    def changes(self) -> list[str]:
        """Returns which settings are not as they were; raises as `read`."""
        now = SettingsFile.read(self.path)
        return [f"{name} in {self.path}" for name in _differing(self.values, now.values)]


class Origin(BaseModel):
    """What a pipeline was compiled from.

    Attributes:
        orchestrator: what it was compiled for.
        node_ids: its nodes.
        code: digests of the first-party modules that its nodes use, by folder or module.
        packages: versions of the packages that its nodes use.
        schema_file: the curated schema.
        schema_digest: of its content.
        settings_file: None: there is none, or it is out of reach where the pipeline runs. Settings
            from the command line and the environment are compiled in, and cannot change.
    """

    orchestrator: Orchestrator
    node_ids: list[str]
    code: dict[str, str]
    packages: dict[str, str]
    schema_file: Path
    schema_digest: str
    settings_file: SettingsFile | None

    def changes(self) -> list[str]:
        """Returns what is not as it was, a few words each.

        Raises:
            UsageError: the file of settings cannot be read any more.
        """
        return [
            *self._code_changes(),
            *(f"package {change}" for change in self._package_changes()),
            *self._schema_changes(),
            *(self.settings_file.changes() if self.settings_file else []),
        ]

    def _code_changes(self) -> list[str]:
        places = _differing(self.code, _code_digests(self.orchestrator, self.node_ids))
        return [f"the code in {', '.join(places)}"] if places else []

    def _package_changes(self) -> Iterator[str]:
        now = _package_versions(self.node_ids)
        for package in _differing(self.packages, now):
            before, after = (each.get(package, "not used") for each in (self.packages, now))
            yield f"{package} ({before}, now {after})"

    def _schema_changes(self) -> list[str]:
        unchanged = _file_digest(self.schema_file) == self.schema_digest
        return [] if unchanged else [f"the schema {self.schema_file}"]


def origin_of(
    config: Config,
    orchestrator: Orchestrator,
    node_ids: Iterable[str],
    settings_file: Path | None = None,
) -> Origin:
    """Returns what a pipeline is compiled from now.

    Args:
        config: all settings.
        orchestrator: what it is compiled for.
        node_ids: its nodes.
        settings_file: the TOML file that settings were read from, if there is one.
    """
    nodes = list(node_ids)
    return Origin(
        orchestrator=orchestrator,
        node_ids=nodes,
        code=_code_digests(orchestrator, nodes),
        packages=_package_versions(nodes),
        schema_file=config.schema_file,
        schema_digest=_file_digest(config.schema_file),
        settings_file=SettingsFile.read(settings_file) if settings_file else None,
    )


def check_fresh(ir_path: Path) -> None:
    """Makes sure that a compiled DAG's code, packages, schema and settings are as they were.

    Raises:
        UsageError: they are not, or the file cannot be used; the message says what changed.
    """
    if changes := changes_since(read_outline(ir_path).origin):
        raise UsageError(
            f"{ir_path} is out of date (changed: {changes}); `runner.py compile airflow --output "
            f"{ir_path.parent}` with the same options as before writes it anew"
        )


def changes_since(origin: Any) -> str:
    """Returns what has changed since a pipeline was compiled, in words; empty: nothing has.

    Args:
        origin: the JSON form of an Origin, perhaps one of another release.

    Raises:
        UsageError: the file of settings cannot be read any more.
    """
    try:
        return "; ".join(Origin.model_validate(origin).changes())
    except ValidationError:
        return "the release of this program"


def _code_digests(orchestrator: Orchestrator, node_ids: Iterable[str]) -> dict[str, str]:
    roots = {"pipeline.definition", *_COMPILED_BY[orchestrator]}
    roots |= {module for needs in _dependencies(node_ids) for module in needs.modules}
    places: dict[str, dict[str, str]] = defaultdict(dict)
    for module, digest in module_digests(sorted(roots)).items():
        places["/".join(module.split(".")[:2])][module] = digest
    return {place: _digest(places[place]) for place in sorted(places)}


def _package_versions(node_ids: Iterable[str]) -> dict[str, str]:
    packages = {package for needs in _dependencies(node_ids) for package in needs.packages}
    return {package: _version(package) for package in sorted(packages)}


def _dependencies(node_ids: Iterable[str]) -> Iterator[Dependencies]:
    known = NODES | TUNING_NODES
    # A node that another release had is told by the code that is not there any more.
    return (known[node_id] for node_id in node_ids if node_id in known)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return _NOT_INSTALLED


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _differing(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return sorted(name for name in before.keys() | now if before.get(name) != now.get(name))


def _digest(value: Any) -> str:
    # Dates are TOML's only values that JSON has not.
    as_json = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(as_json.encode()).hexdigest()[:_DIGEST_LENGTH]


def _file_digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()[:_DIGEST_LENGTH]
    except OSError:
        return ""
