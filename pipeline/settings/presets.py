"""Ready-made settings, and in what they differ from the defaults."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Preset(StrEnum):
    """Ready-made settings, from first contact to the most accurate model."""

    SMOKE = "smoke"
    DEFAULT = "default"
    BEST = "best"


PRESETS: Mapping[Preset, Mapping[str, Mapping[str, Any]]] = {
    # Twenty test images a class are noise: the limits only catch a model that learned nothing.
    Preset.SMOKE: {
        "data": {"sample": True},
        "training": {
            "epochs": 8,
            "batch_size": 32,
            "learning_rate": 3e-3,
            "weight_decay": 1e-4,
            "label_smoothing": 0.1,
            "filters": (16, 32, 64),
            "convolutions": 1,
            "random_shift": 0,
            "dense_units": 64,
            "dropout": 0.3,
            "threads": 2,
        },
        "evaluation": {
            "min_accuracy": 0.6,
            "min_span_accuracy": 0.4,
            "min_class_recall": 0.1,
            "max_accuracy_drop": 0.1,
        },
    },
    # The defaults of every setting; what `runner.py tune` searches comes from it.
    Preset.DEFAULT: {},
    Preset.BEST: {
        "training": {
            "epochs": 32,
            "optimizer": "muon",
            "learning_rate": 3e-3,
            "weight_decay": 0.05,
            "label_smoothing": 0.1,
            "filters": (64, 128, 256),
            "dense_units": 0,
            "dropout": 0.3,
            "cutout": 8,
        }
    },
}
