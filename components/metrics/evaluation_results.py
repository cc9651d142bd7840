"""Reads the metrics that Evaluator wrote, as plain numbers for records, summaries and reports."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_model_analysis as tfma
from pydantic import BaseModel, Field
from tensorflow_model_analysis.proto import metrics_for_slice_pb2

from components.metrics.class_metrics import JUDGED


class Metrics(BaseModel):
    """The candidate's metrics by name; those that could not be computed (NaN) are left out.

    Attributes:
        overall: on all examples.
        classes: on all examples, one class against the others, by class id.
        slices: on the examples of a slice, by `feature:value` (several joined by `,`).
        confusion_matrix: weighted number of examples by actual (row) and predicted (column) class
            id, on all examples; empty when the matrix was not computed.
    """

    overall: dict[str, float] = Field(default_factory=dict)
    classes: dict[int, dict[str, float]] = Field(default_factory=dict)
    slices: dict[str, dict[str, float]] = Field(default_factory=dict)
    confusion_matrix: list[list[float]] = Field(default_factory=list)


def read_metrics(evaluation: str | Path, model_name: str | None = None) -> Metrics:
    """Reads the metrics of one model from an `evaluation` artifact.

    Args:
        evaluation: the artifact's folder or URI.
        model_name: the model's name in the EvalConfig; None: the one that is not a baseline.
    """
    is_wanted = _model_filter(str(evaluation), model_name)
    metrics = Metrics()
    for record in tfma.load_metrics(str(evaluation)):
        where = ",".join(_slice_name(single) for single in record.slice_key.single_slice_keys)
        for entry in record.metric_keys_and_values:
            key, value = entry.key, entry.value
            if key.is_diff or key.name.startswith(JUDGED) or not is_wanted(key.model_name):
                continue
            kind = value.WhichOneof("type")
            if kind == "multi_class_confusion_matrix_at_thresholds" and not where:
                metrics.confusion_matrix = _confusion_matrix(value)
            elif kind == "double_value" and math.isfinite(value.double_value.value):
                _target(metrics, where, key)[key.name] = value.double_value.value
    # A class whose precision is NaN is found only with a later metric.
    metrics.classes = dict(sorted(metrics.classes.items()))
    return metrics


def _model_filter(evaluation: str, model_name: str | None) -> Callable[[str], bool]:
    if model_name is not None:
        return lambda name: name == model_name
    # TFMA names models in the metrics only when it evaluated several of them.
    config = Path(evaluation) / "eval_config.json"
    specs: list[dict[str, Any]] = []
    if config.exists():
        specs = json.loads(config.read_text()).get("evalConfig", {}).get("modelSpecs", [])
    baselines = {spec.get("name", "") for spec in specs if spec.get("isBaseline")}
    return lambda name: name not in baselines


def _slice_name(single: metrics_for_slice_pb2.SingleSliceKey) -> str:
    value = getattr(single, single.WhichOneof("kind"))
    return f"{single.column}:{value.decode() if isinstance(value, bytes) else value}"


def _target(metrics: Metrics, where: str, key: metrics_for_slice_pb2.MetricKey) -> dict[str, float]:
    if not key.HasField("sub_key"):
        return metrics.slices.setdefault(where, {}) if where else metrics.overall
    if where or not key.sub_key.HasField("class_id"):
        # Recall and AUC of a class inside a slice, and of top-k: numbers that nothing uses.
        return {}
    return metrics.classes.setdefault(key.sub_key.class_id.value, {})


def _confusion_matrix(value: metrics_for_slice_pb2.MetricValue) -> list[list[float]]:
    # Of several thresholds, the first is the one that counts every prediction.
    entries = value.multi_class_confusion_matrix_at_thresholds.matrices[0].entries
    ids = [max(entry.actual_class_id, entry.predicted_class_id) for entry in entries]
    size = max(ids, default=-1) + 1
    # The last column is of examples that nothing was predicted for: TFMA's class -1.
    counts = np.zeros((size, size + 1))
    for entry in entries:
        counts[entry.actual_class_id, entry.predicted_class_id] = entry.num_weighted_examples
    matrix: list[list[float]] = counts[:, :-1].tolist()
    return matrix
