"""The published digests are those of the real files, wherever this machine can get them."""

from pathlib import Path

import numpy as np
import pytest

from data import idx
from data.fashion_mnist import DatasetError, obtain


@pytest.mark.integration
def test_the_official_files_can_be_had_and_are_what_they_should_be(tmp_path: Path) -> None:
    try:
        done = obtain(tmp_path / "base")
    except DatasetError as error:
        pytest.skip(f"no source answers from here: {error}")
    assert done.sources
    assert obtain(tmp_path / "base").sources == ()
    for part, per_class in (("train", 6_000), ("t10k", 1_000)):
        images = idx.read_images(done.folder / f"{part}-images-idx3-ubyte.gz")
        labels = idx.read_labels(done.folder / f"{part}-labels-idx1-ubyte.gz")
        assert images.shape == (10 * per_class, 28, 28)
        assert np.bincount(labels).tolist() == [per_class] * 10
