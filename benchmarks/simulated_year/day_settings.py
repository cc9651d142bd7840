"""The settings of a day: those of every day, and the mistakes that somebody made."""

import json
from pathlib import Path
from typing import Any

from benchmarks.simulated_year.plan import Accident, Day
from pipeline.modeling.features import CLASS_LABELS
from pipeline.settings.paths import SCHEMA_FILE

OTHER_NAME = "Trainers"
TYPO = 0.998
_RENAMED_CLASS = "Sneaker"

# What an operator types wrong in the curated schema: all labels but 9, all pictures but dark ones.
_SCHEMA_MISTAKES = (("max: 9", "max: 8"), ("max: 255.0", "max: 25.5"))
_THRESHOLD_TYPOS = ("min_accuracy", "min_class_recall")


def write_settings(file: Path, day: Day, *, workdir: Path, root: Path, live_server: str) -> None:
    """Writes the file of settings that the day's runs are given.

    Args:
        file: is replaced; an edited schema lies beside it.
        day: with its accidents.
        workdir: of all runs.
        root: the data root.
        live_server: the address of the server, which may not answer.
    """
    # A net that learns in seconds, and limits that tell it from one that has learned nothing.
    settings: dict[str, Any] = {
        "preset": "smoke",
        "workdir": str(workdir),
        "data": {"root": str(root)},
        "training": {
            "epochs": 4,
            "batch_size": 32,
            "filters": [8, 16],
            "dense_units": 32,
            "dropout": 0.0,
            "test_time_flip": False,
        },
        "evaluation": {
            "min_accuracy": 0.5,
            "min_span_accuracy": 0.45,
            "min_class_recall": 0.02,
            "max_accuracy_drop": 0.2,
        },
        "infra_validation": {"model_server": "embedded"},
        "push": {"live_server": live_server, "live_timeout_seconds": 30.0},
    }
    if Accident.TYPO in day.accidents:
        settings["evaluation"][_one_of(_THRESHOLD_TYPOS, day)] = TYPO
    if Accident.SCHEMA in day.accidents:
        edited = file.with_name("schema.pbtxt")
        edited.write_text(SCHEMA_FILE.read_text().replace(*_one_of(_SCHEMA_MISTAKES, day)))
        settings["data"]["schema_file"] = str(edited)
    if Accident.DIVERGES in day.accidents:
        settings["training"]["learning_rate"] = 1e6
    if Accident.RENAMED in day.accidents:
        names = [OTHER_NAME if name == _RENAMED_CLASS else name for name in CLASS_LABELS]
        settings["data"]["labels"] = names
    file.write_text(_toml(settings))


def _one_of(choices: tuple[Any, ...], day: Day) -> Any:
    return choices[int(day.variant * len(choices))]


def _toml(settings: dict[str, Any]) -> str:
    """Strings, numbers and lists of them are written in TOML as in JSON."""
    lines = [f"{k} = {json.dumps(v)}" for k, v in settings.items() if not isinstance(v, dict)]
    for section, values in settings.items():
        if isinstance(values, dict):
            lines += [f"[{section}]", *(f"{k} = {json.dumps(v)}" for k, v in values.items())]
    return "\n".join(lines) + "\n"
