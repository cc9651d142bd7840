"""Per-class metrics in one pass: the numbers are those of TFMA's own metrics, class by class."""

import numpy as np
import pandas as pd
import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from components.metrics.class_metrics import Histogram

CLASSES = 3
NAMES = ("precision", "recall", "auc", "calibration")


def evaluate(data: pd.DataFrame, module: str, *metrics: str) -> dict[tuple, dict[int, dict]]:
    """The metrics by slice, class id and name."""
    config = config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(label_key="label", prediction_key="prediction")],
        slicing_specs=[config_pb2.SlicingSpec(), config_pb2.SlicingSpec(feature_keys=["origin"])],
        metrics_specs=[
            config_pb2.MetricsSpec(
                binarize=config_pb2.BinarizationOptions(class_ids={"values": range(CLASSES)}),
                metrics=[
                    config_pb2.MetricConfig(class_name=metric, module=module) for metric in metrics
                ],
            )
        ],
    )
    found: dict[tuple, dict[int, dict]] = {}
    for slice_key, outputs in tfma.analyze_raw_data(data, config).slicing_metrics:
        of_classes = outputs[""]
        found[slice_key] = {
            class_id: {
                name: of_classes[f"classId:{class_id}"][name]["doubleValue"] for name in NAMES
            }
            for class_id in range(CLASSES)
        }
    return found


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


def test_the_numbers_are_those_of_tfmas_own_metrics(data: pd.DataFrame) -> None:
    ours = evaluate(
        data,
        "components.metrics.class_metrics",
        "ClassPrecision",
        "ClassRecall",
        "ClassAUC",
        "ClassCalibration",
    )
    theirs = evaluate(data, "", "Precision", "Recall", "AUC", "Calibration")
    assert len(ours) == 3
    assert ours.keys() == theirs.keys()
    for slice_key, classes in theirs.items():
        for class_id, expected in classes.items():
            if class_id == 2 and slice_key == (("origin", "span-1"),):
                continue
            assert ours[slice_key][class_id] == pytest.approx(expected, abs=1e-4)


def test_a_class_without_an_example_has_no_recall(data: pd.DataFrame) -> None:
    metrics = ["ClassPrecision", "ClassRecall", "ClassAUC", "ClassCalibration"]
    of_span = evaluate(data, "components.metrics.class_metrics", *metrics)[(("origin", "span-1"),)]
    assert {name for name, value in of_span[2].items() if np.isnan(float(value))} == {
        "recall",
        "auc",
        "calibration",
    }


def test_a_network_that_diverged_predicts_no_class() -> None:
    histogram = Histogram(2)
    histogram.add([(0, np.array([np.nan, np.nan], np.float32), 1.0)])
    assert histogram.weights[:, :, 0].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert histogram.predicted.tolist() == [0.0, 0.0]
