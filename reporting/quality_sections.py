"""Reads how the training went and how good the model is, by Evaluator and by its own answers."""

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import metrics_for_slice_pb2
from tfx.utils import path_utils

from components.examples import read_records, sample_evenly
from components.model_diff.churn import predict, true_classes
from components.tfma_metrics import Metrics, read_metrics
from pipeline.evaluation import ACCURACY, EVALUATED_SIGNATURE
from pipeline.features import IMAGE, LABEL
from reporting.data_sections import side_by_side
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

_BASELINE = "baseline"
_EVERYWHERE = "all images"
_EVERY_ORIGIN = "each origin"
_OF_EVERY_ORIGIN = ("example_count", ACCURACY)
_CLASS_METRICS = ("precision", "recall", "auc")
_MAX_ASKED = 10_000
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
    limits = list(_limits(artifact.path))
    missed = _missed(artifact.path)
    matrix = [[round(count) for count in row] for row in candidate.confusion_matrix]
    overall = [
        _metric(name, where, value, others.get(name), limits, missed)
        for where, values, others in _places(candidate, baseline)
        for name, value in values.items()
    ]
    return Quality(
        overall=[
            metric
            for metric in overall
            if metric.where == _EVERYWHERE or metric.limits or metric.name in _OF_EVERY_ORIGIN
        ],
        classes=[
            ClassMetrics(
                label=labels[class_id],
                images=sum(matrix[class_id]) if class_id < len(matrix) else 0,
                metrics={
                    name: _metric(
                        name,
                        _EVERYWHERE,
                        values[name],
                        baseline.classes.get(class_id, {}).get(name),
                        limits,
                        missed,
                        class_id,
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


@dataclass(frozen=True)
class _Limit:
    """What is required of a metric; `of_classes`: of each class' own one."""

    metric: str
    where: str
    of_classes: bool
    text: str


_Missed = set[tuple[str, str, int | None]]


def _places(
    candidate: Metrics, baseline: Metrics
) -> Iterator[tuple[str, Mapping[str, float], Mapping[str, float]]]:
    yield _EVERYWHERE, candidate.overall, baseline.overall
    for name, values in sorted(candidate.slices.items()):
        yield name.partition(":")[2], values, baseline.slices.get(name, {})


def _metric(
    name: str,
    where: str,
    value: float,
    baseline: float | None,
    limits: list[_Limit],
    missed: _Missed,
    class_id: int | None = None,
) -> Metric:
    places = (where,) if where == _EVERYWHERE else (where, _EVERY_ORIGIN)
    return Metric(
        name=name,
        where=where,
        value=value,
        baseline=baseline,
        limits=[
            limit.text
            for limit in limits
            if limit.metric == name
            and limit.where in places
            and limit.of_classes == (class_id is not None)
        ],
        missed=(name, where, class_id) in missed,
    )


def _limits(evaluation: Path) -> Iterator[_Limit]:
    config = json.loads((evaluation / "eval_config.json").read_text())["evalConfig"]
    for spec in config.get("metricsSpecs", []):
        for metric in spec.get("metrics", []):
            name = _metric_name(metric)
            of_classes = "binarize" in spec
            for text in _texts(metric.get("threshold", {})):
                yield _Limit(name, _EVERYWHERE, of_classes, text)
            for per_slice in metric.get("perSliceThresholds", []):
                for slicing in per_slice.get("slicingSpecs", []):
                    for text in _texts(per_slice.get("threshold", {})):
                        yield _Limit(name, _place(slicing), of_classes, text)


def _metric_name(metric: Mapping[str, str]) -> str:
    named = json.loads(metric.get("config") or "{}").get("name")
    # As TFMA and Keras name a metric after its class.
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", metric["className"])
    return str(named or words.lower())


def _place(slicing: Mapping[str, Any]) -> str:
    values = list(slicing.get("featureValues", {}).values())
    if values:
        return str(values[0])
    return _EVERY_ORIGIN if slicing.get("featureKeys") else _EVERYWHERE


def _texts(threshold: Mapping[str, Any]) -> Iterator[str]:
    value = threshold.get("valueThreshold", {})
    if "lowerBound" in value:
        yield f"at least {value['lowerBound']:g}"
    if "upperBound" in value:
        yield f"at most {value['upperBound']:g}"
    change = threshold.get("changeThreshold", {})
    if "absolute" in change:
        upwards = change.get("direction") == "HIGHER_IS_BETTER"
        what = "loses" if upwards else "gains"
        yield f"{what} at most {abs(change['absolute']):g}"


def _missed(evaluation: Path) -> _Missed:
    result = tfma.load_validation_result(str(evaluation))
    return {
        (failure.metric_key.name, _where(per_slice.slice_key), _class_id(failure.metric_key))
        for per_slice in result.metric_validations_per_slice
        for failure in per_slice.failures
    }


def _where(key: metrics_for_slice_pb2.SliceKey) -> str:
    for single in key.single_slice_keys:
        return str(single.bytes_value.decode())
    return _EVERYWHERE


def _class_id(key: metrics_for_slice_pb2.MetricKey) -> int | None:
    has_class = key.HasField("sub_key") and key.sub_key.HasField("class_id")
    return int(key.sub_key.class_id.value) if has_class else None


def _image(record: bytes) -> bytes:
    features = tf.train.Example.FromString(record).features.feature
    return bytes(features[IMAGE].bytes_list.value[0])


def _as_text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
