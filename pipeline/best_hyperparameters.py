"""The values that a tuning found, between KerasTuner's notation and the hyperparameters."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.settings.hyperparameters import Hyperparameters

_SIGNIFICANT_DIGITS = 3


def encode(value: Any) -> int | float | str:
    """Returns a hyperparameter's value as KerasTuner holds it, which knows no sequences."""
    return value if isinstance(value, int | float) else json.dumps(value)


def decode(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns JSON-like values of hyperparameters for those that KerasTuner holds.

    Floats are rounded, so that what is printed, written and trained with is the same.
    """
    return {name: _decode(value) for name, value in values.items()}


def with_tuned(settings: Hyperparameters, values: Mapping[str, Any]) -> Hyperparameters:
    """Returns the settings with decoded `values` in the place of their own.

    Raises:
        pydantic.ValidationError: when a value is not one that the hyperparameter may have.
    """
    return Hyperparameters.model_validate(settings.model_dump(mode="json") | dict(values))


def read_tuned(directory: Path) -> dict[str, Any]:
    """Returns the values that a HyperParameters artifact of Tuner holds, decoded."""
    (file,) = directory.iterdir()
    return decode(json.loads(file.read_text())["values"])


def _decode(value: Any) -> Any:
    if isinstance(value, str):
        return json.loads(value)
    return float(f"{value:.{_SIGNIFICANT_DIGITS}g}") if isinstance(value, float) else value
