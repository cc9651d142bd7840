"""What a tuning found as settings: for people, for `--config`, and for the next run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from files.whole import write_whole
from pipeline.best_hyperparameters import with_tuned
from pipeline.settings.config import Config
from pipeline.settings.load import load_config


def without_search(config: Config, values: Mapping[str, Any]) -> Config:
    """Returns the settings of a run that trains with `values` and searches nothing.

    Args:
        config: settings of a run with Tuner.
        values: the best hyperparameters that it found.
    """
    return config.model_copy(
        update={
            "training": with_tuned(config.training, values),
            "tuning": config.tuning.model_copy(update={"enabled": False}),
        }
    )


def toml_snippet(config: Config, values: Mapping[str, Any]) -> str:
    """Returns a TOML file that gives a later run the same preset and hyperparameters.

    It has the values found, and those with which the search departed from the preset.
    """
    of_preset = load_config(config.preset).training.model_dump(mode="json")
    training = with_tuned(config.training, values).model_dump(mode="json")
    lines = [
        f"{name} = {json.dumps(value)}"
        for name, value in training.items()
        if name in values or value != of_preset[name]
    ]
    return "\n".join([f'preset = "{config.preset}"', "", "[training]", *lines, ""])


def tuned_file(config: Config) -> Path:
    """Returns where the values found are written."""
    return config.workdir / "tuned.toml"


def write_snippet(config: Config, values: Mapping[str, Any]) -> Path:
    """Writes the TOML file; an earlier one stays until the new one is whole."""
    path = tuned_file(config)
    write_whole(path, toml_snippet(config, values))
    return path
