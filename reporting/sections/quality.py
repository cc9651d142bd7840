"""Reads how the training went and how good the model is, by Evaluator and by its own answers."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tfx.utils import path_utils

from components.examples import read_records, sample_evenly
from components.metrics.evaluation_results import Metrics, read_metrics
from components.model_diff.churn import predict, true_classes
from pipeline.evaluation import ACCURACY, EVALUATED_SIGNATURE
from pipeline.modeling.features import IMAGE, LABEL
from reporting.evidence import Evidence
from reporting.page import (
    Answers,
    CalibrationBin,
    ClassMetrics,
    Epoch,
    Metric,
    Mistake,
    Quality,
    Training,
)
from reporting.sections.data import side_by_side
from reporting.thresholds import EVERYWHERE, Limits, Place

_BASELINE = "baseline"
_OF_EVERY_ORIGIN = ("example_count", ACCURACY)
_CLASS_METRICS = ("precision", "recall", "auc")
# The answers of a default model to so many images take one to two seconds on two cores.
_MAX_ASKED = 5_000
_BINS = 10
_MISTAKES = 24


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


def read_quality(evidence: Evidence, labels: Sequence[str]) -> Quality | None:
    """Returns Evaluator's numbers with their limits; None: the model was not evaluated.

    Args:
        evidence: what the run left.
        labels: names of the classes, in the order of their ids.
    """
    artifact = evidence.output("Evaluator", "evaluation")
    if artifact is None:
        return None
    candidate = read_metrics(artifact.path)
    baseline = read_metrics(artifact.path, _BASELINE)
    limits = Limits(artifact.path)
    matrix = [[round(count) for count in row] for row in candidate.confusion_matrix]
    overall = [
        _metric(Place(name, where), value, others.get(name), limits)
        for where, values, others in _places(candidate, baseline)
        for name, value in values.items()
    ]
    return Quality(
        overall=[
            metric
            for metric in overall
            if metric.where == EVERYWHERE or metric.limits or metric.name in _OF_EVERY_ORIGIN
        ],
        classes=[
            ClassMetrics(
                label=labels[class_id],
                images=sum(matrix[class_id]) if class_id < len(matrix) else 0,
                metrics={
                    name: _metric(
                        Place(name, class_id=class_id),
                        values[name],
                        baseline.classes.get(class_id, {}).get(name),
                        limits,
                    )
                    for name in _CLASS_METRICS
                    if name in values
                },
            )
            for class_id, values in sorted(candidate.classes.items())
        ],
        confusion_matrix=matrix,
        has_baseline=bool(baseline.overall),
    )


def read_answers(evidence: Evidence, labels: Sequence[str]) -> Answers | None:
    """Asks the model about the evaluated images; None: there is no model.

    Args:
        evidence: what the run left.
        labels: names of the classes, in the order of their ids.
    """
    model = evidence.output("Trainer", "model")
    examples = evidence.output("IdxExampleGen", "examples")
    if model is None or examples is None:
        return None
    records = read_records(sorted(map(str, (examples.path / "Split-eval").iterdir())))
    asked = sample_evenly(records, _MAX_ASKED)
    probabilities = predict(
        Path(path_utils.serving_model_path(model.uri)), asked, EVALUATED_SIGNATURE
    )
    truth = true_classes(asked, LABEL)
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != truth)
    confidence = probabilities.max(axis=1)
    most_confident = wrong[np.argsort(-confidence[wrong], kind="stable")][:_MISTAKES]
    return Answers(
        images=len(asked),
        evaluated=len(records),
        wrong=len(wrong),
        calibration=list(calibration(probabilities, truth)),
        mistakes=[
            Mistake(
                png=side_by_side([_image(asked[row])]),
                truth=labels[truth[row]],
                predicted=labels[probabilities[row].argmax()],
                probability=float(confidence[row]),
            )
            for row in most_confident
        ],
    )


def calibration(probabilities: np.ndarray, truth: np.ndarray) -> Iterator[CalibrationBin]:
    """Yields, by the probability of the given label, how often it was right.

    Args:
        probabilities: [examples, classes].
        truth: class ids [examples].
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    for number in range(_BINS):
        members = bins == number
        if members.any():
            yield CalibrationBin(
                low=number / _BINS,
                high=(number + 1) / _BINS,
                images=int(members.sum()),
                confidence=float(confidence[members].mean()),
                accuracy=float(right[members].mean()),
            )


def _places(
    candidate: Metrics, baseline: Metrics
) -> Iterator[tuple[str, Mapping[str, float], Mapping[str, float]]]:
    yield EVERYWHERE, candidate.overall, baseline.overall
    for name, values in sorted(candidate.slices.items()):
        yield name.partition(":")[2], values, baseline.slices.get(name, {})


def _metric(place: Place, value: float, baseline: float | None, limits: Limits) -> Metric:
    return Metric(
        name=place.metric,
        where=place.where,
        value=value,
        baseline=baseline,
        limits=limits.of(place),
        missed=limits.is_missed(place),
    )


def _image(record: bytes) -> bytes:
    features = tf.train.Example.FromString(record).features.feature
    return bytes(features[IMAGE].bytes_list.value[0])


def _as_text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
