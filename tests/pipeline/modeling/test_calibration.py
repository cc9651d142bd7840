"""Temperature scaling finds by how much a model is too sure of itself."""

import numpy as np
import pytest
from scipy.special import softmax

from pipeline.modeling.calibration import fit_temperature


@pytest.fixture(scope="module")
def calibrated() -> tuple[np.ndarray, np.ndarray]:
    """Logits of a model that is as sure as it should be, and labels drawn from its answers."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (5000, 10))
    labels = [generator.choice(10, p=p) for p in softmax(logits, axis=1)]
    return logits, np.array(labels)


@pytest.mark.parametrize("too_sure", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_the_exaggeration(
    calibrated: tuple[np.ndarray, np.ndarray], too_sure: float
) -> None:
    logits, labels = calibrated
    assert fit_temperature(too_sure * logits, labels) == pytest.approx(too_sure, rel=0.05)
