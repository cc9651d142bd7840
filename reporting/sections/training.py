"""Reads how the training went."""

import csv
import json
from collections.abc import Mapping
from typing import Any

from reporting.evidence import Evidence
from reporting.page import Epoch, Training


def read_training(evidence: Evidence, tuned: Mapping[str, Any]) -> Training | None:
    """Returns the history of the training; None: there was none.

    Args:
        evidence: what the run left.
        tuned: hyperparameters that Tuner found, in place of the configured ones.
    """
    run = evidence.output("Trainer", "model_run")
    if run is None:
        return None
    with (run.path / "history.csv").open(newline="") as file:
        epochs = [
            Epoch(
                number=int(row["epoch"]) + 1,
                loss=float(row["loss"]),
                accuracy=float(row["accuracy"]),
                validation_loss=float(row["val_loss"]),
                validation_accuracy=float(row["val_accuracy"]),
            )
            for row in csv.DictReader(file)
        ]
    config = json.loads(evidence.property("Trainer", "custom_config") or "{}")
    hyperparameters = {
        name.replace("_", " "): _as_text(value)
        for name, value in (config.get("hyperparameters", {}) | dict(tuned)).items()
    }
    return Training(epochs=epochs, hyperparameters=hyperparameters)


def _as_text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
