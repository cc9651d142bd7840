"""Expected calibration error, computed by TFMA."""

import numpy as np
import pytest

from components.metrics.calibration_error import CALIBRATION_ERROR, ExpectedCalibrationError


def error(probabilities: list[list[float]], labels: list[int]) -> float:
    """What TFMA's evaluation of these predictions finds."""
    from tensorflow_model_analysis.metrics import metric_types

    (computation,) = ExpectedCalibrationError().computations()
    combiner = computation.combiner
    parts = []
    # Two accumulators, as two workers would have.
    for part in (slice(None, 3), slice(3, None)):
        accumulator = combiner.create_accumulator()
        for prediction, label in zip(probabilities[part], labels[part], strict=True):
            inputs = metric_types.StandardMetricInputs(
                label=np.array([label]),
                prediction=np.array(prediction),
                example_weight=np.array([1.0]),
            )
            accumulator = combiner.add_input(accumulator, inputs)
        parts.append(accumulator)
    ((key, value),) = combiner.extract_output(combiner.merge_accumulators(parts)).items()
    assert key.name == CALIBRATION_ERROR
    return float(value)


def test_a_model_that_is_right_as_often_as_it_says_has_no_error() -> None:
    assert error([[0.75, 0.25]] * 4, [0, 0, 0, 1]) == pytest.approx(0)


def test_the_error_is_the_distance_of_confidence_and_accuracy() -> None:
    assert error([[0.9, 0.1]] * 4, [0, 0, 1, 1]) == pytest.approx(0.4)


def test_a_network_that_diverged_is_never_sure_and_right_about_the_first_class_only() -> None:
    nothing = [float("nan"), float("nan")]
    assert error([nothing] * 4, [0, 1, 1, 1]) == pytest.approx(0.25)


def test_bins_count_by_their_number_of_predictions() -> None:
    sure, unsure = [1.0, 0.0], [0.4, 0.6]
    # In the first bin all are wrong (1.0 off, 1 of 4), in the second all are right (0.4 off).
    assert error([sure, unsure, unsure, unsure], [1, 1, 1, 1]) == pytest.approx((1.0 + 3 * 0.4) / 4)
