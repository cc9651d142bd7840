"""Metrics of all classes in one pass: the numbers are those of TFMA's own metrics."""

import json

import numpy as np
import pandas as pd
import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from components.metrics.class_metrics import (
    CALIBRATION_ERROR,
    ExpectedCalibrationError,
    Histogram,
    JudgedAccuracy,
)
from components.metrics.wilson import wilson_interval

CLASSES = 3
MODULE = "components.metrics.class_metrics"
CLASS_METRICS = ("ClassPrecision", "ClassRecall", "ClassAUC", "ClassCalibration")


def metric(name: str, module: str = MODULE, **config: object) -> config_pb2.MetricConfig:
    return config_pb2.MetricConfig(class_name=name, module=module, config=json.dumps(config))


def evaluate(
    data: pd.DataFrame, *metrics: config_pb2.MetricConfig
) -> dict[tuple, dict[int, dict[str, float]]]:
    """The metrics by slice, class id and name."""
    config = config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(label_key="label", prediction_key="prediction")],
        slicing_specs=[config_pb2.SlicingSpec(), config_pb2.SlicingSpec(feature_keys=["origin"])],
        metrics_specs=[
            config_pb2.MetricsSpec(
                binarize=config_pb2.BinarizationOptions(class_ids={"values": range(CLASSES)}),
                metrics=metrics,
            )
        ],
    )
    found: dict[tuple, dict[int, dict]] = {}
    for slice_key, outputs in tfma.analyze_raw_data(data, config).slicing_metrics:
        of_classes = outputs[""]
        found[slice_key] = {
            class_id: {
                name: float(value["doubleValue"])
                for name, value in of_classes[f"classId:{class_id}"].items()
            }
            for class_id in range(CLASSES)
        }
    return found


def of_everything(
    data: pd.DataFrame, *metrics: config_pb2.MetricConfig
) -> dict[tuple, dict[str, dict]]:
    """The values that are of no single class, by slice and name."""
    slices = [config_pb2.SlicingSpec()]
    if "origin" in data:
        slices.append(config_pb2.SlicingSpec(feature_keys=["origin"]))
    config = config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(label_key="label", prediction_key="prediction")],
        slicing_specs=slices,
        metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)],
    )
    results = tfma.analyze_raw_data(data, config).slicing_metrics
    return {slice_key: outputs[""][""] for slice_key, outputs in results}


def predictions(count: int, labels: np.ndarray, seed: int) -> list[list[float]]:
    random = np.random.default_rng(seed)
    logits = random.normal(size=(count, CLASSES)) + 1.5 * np.eye(CLASSES)[labels]
    exponents = np.exp(2 * logits)
    return (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32).tolist()


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    # More than one batch, and a slice in which class 2 has no example.
    count = 1_200
    labels = np.random.default_rng(1).integers(0, CLASSES, count)
    origins = np.where((np.arange(count) % 9 == 0) & (labels < 2), "span-1", "base")
    return pd.DataFrame(
        {"label": labels, "prediction": predictions(count, labels, 2), "origin": origins}
    )


def test_area_and_calibration_are_those_of_tfmas_own_metrics(data: pd.DataFrame) -> None:
    ours = evaluate(data, metric("ClassAUC"), metric("ClassCalibration"))
    theirs = evaluate(data, metric("AUC", ""), metric("Calibration", ""))
    assert len(ours) == 3
    assert ours.keys() == theirs.keys()
    for slice_key, classes in theirs.items():
        for class_id, expected in classes.items():
            if class_id == 2 and slice_key == (("origin", "span-1"),):
                continue
            assert ours[slice_key][class_id] == pytest.approx(expected, abs=1e-4)


def test_what_is_read_of_all_classes_is_what_keras_and_tfma_compute(data: pd.DataFrame) -> None:
    ours = of_everything(
        data,
        metric("SparseCategoricalAccuracy"),
        metric("SparseCategoricalCrossentropy"),
        metric("MultiClassConfusionMatrix"),
    )
    theirs = of_everything(
        data,
        metric("SparseCategoricalAccuracy", ""),
        metric("SparseCategoricalCrossentropy", ""),
        metric("MultiClassConfusionMatrixAtThresholds", "", thresholds=[0.0]),
    )
    assert len(theirs) == 3
    assert ours.keys() == theirs.keys()
    for slice_key, expected in theirs.items():
        assert ours[slice_key].keys() == expected.keys()
        for name, value in expected.items():
            if "doubleValue" in value:
                value = {"doubleValue": pytest.approx(value["doubleValue"], abs=1e-5)}
            assert ours[slice_key][name] == value


def test_a_network_that_diverged_has_predicted_nothing() -> None:
    nothing = pd.DataFrame({"label": [0, 1], "prediction": [[float("nan")] * 2] * 2})
    (of_all,) = of_everything(
        nothing, metric("SparseCategoricalAccuracy"), metric("MultiClassConfusionMatrix")
    ).values()
    assert of_all["sparse_categorical_accuracy"]["doubleValue"] == 0
    (matrix,) = of_all["multi_class_confusion_matrix_at_thresholds"][
        "multiClassConfusionMatrixAtThresholds"
    ]["matrices"]
    assert [entry["predictedClassId"] for entry in matrix["entries"]] == [-1, -1]


def test_a_class_is_predicted_where_it_is_the_most_probable_one(data: pd.DataFrame) -> None:
    labels = data["label"].to_numpy()
    most_probable = np.array(data["prediction"].tolist()).argmax(axis=1)
    # Three classes: some are most probable below 0.5.
    assert (np.array(data["prediction"].tolist()).max(axis=1) < 0.5).any()
    found = evaluate(data, metric("ClassPrecision"), metric("ClassRecall"))[()]
    for class_id, values in found.items():
        right = ((labels == class_id) & (most_probable == class_id)).sum()
        assert values["recall"] == pytest.approx(right / (labels == class_id).sum())
        assert values["precision"] == pytest.approx(right / (most_probable == class_id).sum())


def test_a_class_is_judged_by_its_recall_from_so_many_examples_on(data: pd.DataFrame) -> None:
    of_span = (("origin", "span-1"),)
    examples = int(((data["label"] == 0) & (data["origin"] == "span-1")).sum())
    judged = {
        least: evaluate(data, metric("ClassRecall"), metric("JudgedRecall", min_examples=least))
        for least in (examples, examples + 1)
    }
    recall = judged[examples][of_span][0]["recall"]
    assert recall < 1
    assert judged[examples][of_span][0]["judged_recall"] == recall
    assert judged[examples + 1][of_span][0]["judged_recall"] == 1
    assert np.isnan(judged[examples][of_span][2]["judged_recall"])  # it has no example


def test_a_slice_is_judged_by_what_its_accuracy_may_be_at_most(data: pd.DataFrame) -> None:
    spans = data[data["origin"] == "span-1"]
    right = np.array(spans["prediction"].tolist()).argmax(axis=1) == spans["label"].to_numpy()
    for least, expected in (
        (len(right), wilson_interval(right.sum(), len(right))[1]),
        (len(right) + 1, 1.0),
    ):
        judged = JudgedAccuracy(min_examples=least)
        of_slices = of_everything(data, metric("JudgedAccuracy", min_examples=least))
        value = of_slices[(("origin", "span-1"),)][judged.name]["doubleValue"]
        assert value == pytest.approx(expected)


def test_a_class_without_an_example_has_no_recall(data: pd.DataFrame) -> None:
    of_span = evaluate(data, *map(metric, CLASS_METRICS))[(("origin", "span-1"),)]
    assert {name for name, value in of_span[2].items() if np.isnan(value)} == {
        "recall",
        "auc",
        "calibration",
    }


def test_a_network_that_diverged_predicts_no_class() -> None:
    histogram = Histogram(2)
    histogram.add([(0, np.array([np.nan, np.nan], np.float32))])
    assert histogram.counts[:, :, 0].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert histogram.predicted.tolist() == [0.0, 0.0]
    assert histogram.confusion.tolist() == [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]


def calibration_error(probabilities: list[list[float]], labels: list[int]) -> float:
    data = pd.DataFrame({"label": labels, "prediction": probabilities})
    (of_all,) = of_everything(data, metric(ExpectedCalibrationError.__name__)).values()
    return float(of_all[CALIBRATION_ERROR]["doubleValue"])


def test_a_model_that_is_right_as_often_as_it_says_has_no_error() -> None:
    assert calibration_error([[0.75, 0.25]] * 4, [0, 0, 0, 1]) == pytest.approx(0, abs=1e-6)


def test_the_error_is_the_distance_of_confidence_and_accuracy() -> None:
    assert calibration_error([[0.9, 0.1]] * 4, [0, 0, 1, 1]) == pytest.approx(0.4)


def test_a_network_that_diverged_is_never_sure_and_right_about_the_first_class_only() -> None:
    nothing = [float("nan"), float("nan")]
    assert calibration_error([nothing] * 4, [0, 1, 1, 1]) == pytest.approx(0.25)


def test_bins_count_by_their_number_of_predictions() -> None:
    sure, unsure = [1.0, 0.0], [0.4, 0.6]
    # In the first bin all are wrong (1.0 off, 1 of 4), in the second all are right (0.4 off).
    found = calibration_error([sure, unsure, unsure, unsure], [1, 1, 1, 1])
    assert found == pytest.approx((1.0 + 3 * 0.4) / 4)


def test_histograms_of_two_workers_are_that_of_one() -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, CLASSES, 50)
    rows = [
        (int(label), np.array(row, np.float32))
        for label, row in zip(labels, predictions(50, labels, 4), strict=True)
    ]
    one, first, second = Histogram(CLASSES), Histogram(CLASSES), Histogram(CLASSES)
    one.add(rows)
    first.add(rows[:20])
    second.add(rows[20:])
    first.merge(second)
    for name, value in vars(one).items():
        np.testing.assert_allclose(vars(first)[name], value, err_msg=name)
