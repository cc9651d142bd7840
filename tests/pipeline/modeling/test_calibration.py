"""Probabilities are as often right as they say, whatever a network was trained to exaggerate."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax

from benchmarks.accuracy import calibration_error
from pipeline.modeling.calibration import class_probabilities, fit_temperature

CLASSES = 10


@pytest.fixture(scope="module")
def calibrated() -> tuple[np.ndarray, np.ndarray]:
    """Logits of a model that is as sure as it should be, and labels drawn from its answers."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (5000, CLASSES))
    labels = [generator.choice(CLASSES, p=p) for p in softmax(logits, axis=1)]
    return logits, np.array(labels)


def smoothed(logits: np.ndarray, label_smoothing: float) -> np.ndarray:
    """Logits of the same model after a training with label smoothing."""
    return np.log((1 - label_smoothing) * softmax(logits, axis=1) + label_smoothing / CLASSES)


@pytest.mark.parametrize("too_sure", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_the_exaggeration(
    calibrated: tuple[np.ndarray, np.ndarray], too_sure: float
) -> None:
    logits, labels = calibrated
    assert fit_temperature(too_sure * logits, labels) == pytest.approx(too_sure, rel=0.05)


@pytest.mark.parametrize("label_smoothing", [0.05, 0.1, 0.2])
def test_what_label_smoothing_gave_to_every_class_is_taken_off(
    calibrated: tuple[np.ndarray, np.ndarray], label_smoothing: float
) -> None:
    logits, labels = calibrated
    trained = smoothed(logits, label_smoothing)
    errors = []
    for told in (0.0, label_smoothing):
        temperature = fit_temperature(trained, labels, told)
        answers = class_probabilities(tf.constant(trained), temperature, told).numpy()
        errors.append(calibration_error(answers, labels))
        np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-6)
    assert errors[1] < 0.02
    assert errors[1] <= errors[0]


def test_classes_that_label_smoothing_hides_keep_their_order() -> None:
    logits = np.array([[8.0, 0.3, 0.2, 0.1, 0.0, -0.1, -0.2, -0.3, -2.0, -9.0]], np.float32)
    answer = class_probabilities(tf.constant(logits), 1.0, 0.2).numpy()
    assert (np.diff(answer) < 0).all()
    assert answer.min() > 0


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_a_temperature_is_found_for_logits_that_no_float_can_hold_the_probabilities_of(
    label_smoothing: float,
) -> None:
    logits = 2000.0 * np.eye(CLASSES)
    labels = np.arange(CLASSES)
    labels[0] = 1
    assert np.isfinite(fit_temperature(logits, labels, label_smoothing))
