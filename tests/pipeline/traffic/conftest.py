"""What traffic is tried on: pieces of clothing, and a model that labels them by their mean."""

from pathlib import Path

import numpy as np
import pytest

from data import idx
from pipeline.settings.paths import SAMPLE_DATA
from tests.by_mean_model import save_by_mean


@pytest.fixture(scope="session")
def by_mean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SavedModel."""
    return save_by_mean(tmp_path_factory.mktemp("by_mean"))


@pytest.fixture(scope="session")
def clothes() -> np.ndarray:
    """Pieces of clothing, uint8 [1000, 28, 28]."""
    return idx.read_images(SAMPLE_DATA / "base" / "train-images-idx3-ubyte.gz")
