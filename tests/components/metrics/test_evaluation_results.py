"""Reading what TFMA wrote: its records of two models, a candidate and a baseline."""

import json
from pathlib import Path

import pytest
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_model_analysis.proto import metrics_for_slice_pb2

from components.metrics.evaluation_results import Metrics, read_metrics

CANDIDATE = {"modelName": "candidate"}
CLASS_0 = {"subKey": {"classId": 0}}
CLASS_1 = {"subKey": {"classId": 1}}


def value(number: float | str) -> dict[str, object]:
    return {"doubleValue": number}


def confusion(entries: dict[tuple[int, int], float]) -> dict[str, object]:
    matrix = {
        "entries": [
            {"actualClassId": actual, "predictedClassId": predicted, "numWeightedExamples": number}
            for (actual, predicted), number in entries.items()
        ]
    }
    return {"multiClassConfusionMatrixAtThresholds": {"matrices": [matrix]}}


OVERALL = [
    ({"name": "accuracy", **CANDIDATE}, value(0.75)),
    ({"name": "accuracy", "modelName": "baseline"}, value(0.5)),
    ({"name": "accuracy", "isDiff": True, **CANDIDATE}, value(0.25)),
    ({"name": "recall", **CANDIDATE, **CLASS_0}, value(0.6)),
    ({"name": "recall", **CANDIDATE, **CLASS_1}, value(1.0)),
    ({"name": "auc", **CANDIDATE, **CLASS_1}, value("NaN")),
    ({"name": "judged_accuracy", **CANDIDATE}, value(0.9)),
    # -1: a network that diverged predicts nothing.
    ({"name": "confusion", **CANDIDATE}, confusion({(0, 0): 2, (0, 1): 1, (0, -1): 4, (1, 1): 3})),
]
SPAN_2 = [
    ({"name": "accuracy", **CANDIDATE}, value(0.5)),
    ({"name": "recall", **CANDIDATE, **CLASS_0}, value(0.0)),
]


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    origin = {"column": "origin", "bytesValue": "c3Bhbi0y"}
    slices = [({}, OVERALL), ({"singleSliceKeys": [origin]}, SPAN_2)]
    with tf.io.TFRecordWriter(str(folder / "metrics-00000-of-00001.tfrecord")) as writer:
        for slice_key, entries in slices:
            pairs = [{"key": key, "value": metric} for key, metric in entries]
            record = json_format.ParseDict(
                {"sliceKey": slice_key, "metricKeysAndValues": pairs},
                metrics_for_slice_pb2.MetricsForSlice(),
            )
            writer.write(record.SerializeToString())
    specs = [{"name": "candidate"}, {"name": "baseline", "isBaseline": True}]
    config = {"evalConfig": {"modelSpecs": specs}}
    (folder / "eval_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def metrics(evaluation: Path) -> Metrics:
    return read_metrics(evaluation)


def test_overall_metrics_are_the_candidates(metrics: Metrics) -> None:
    assert metrics.overall == {"accuracy": 0.75}


def test_another_model_can_be_asked_for(evaluation: Path) -> None:
    assert read_metrics(evaluation, "baseline").overall == {"accuracy": 0.5}


def test_class_metrics_are_found_by_class_id(metrics: Metrics) -> None:
    assert metrics.classes == {0: {"recall": 0.6}, 1: {"recall": 1.0}}


def test_a_metric_that_could_not_be_computed_is_left_out(metrics: Metrics) -> None:
    assert "auc" not in metrics.classes[1]


def test_classes_come_in_the_order_of_their_ids(tmp_path: Path) -> None:
    late = {"name": "precision", **CLASS_0}
    entries = [({"name": "precision", **CLASS_1}, value(1.0)), (late, value(0.5))]
    with tf.io.TFRecordWriter(str(tmp_path / "metrics-00000-of-00001.tfrecord")) as writer:
        pairs = [{"key": key, "value": metric} for key, metric in entries]
        record = json_format.ParseDict(
            {"metricKeysAndValues": pairs}, metrics_for_slice_pb2.MetricsForSlice()
        )
        writer.write(record.SerializeToString())
    assert list(read_metrics(tmp_path).classes) == [0, 1]


def test_slice_metrics_are_found_by_feature_and_value(metrics: Metrics) -> None:
    assert metrics.slices == {"origin:span-2": {"accuracy": 0.5}}


def test_the_confusion_matrix_has_actual_classes_as_rows(metrics: Metrics) -> None:
    assert metrics.confusion_matrix == [[2, 1], [0, 3]]


def test_metrics_survive_json(metrics: Metrics) -> None:
    assert Metrics.model_validate_json(metrics.model_dump_json()) == metrics
