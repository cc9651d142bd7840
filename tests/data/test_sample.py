"""The committed sample."""

from pathlib import Path

import numpy as np
import pytest

from data import idx
from data.make_sample import first_of_each_class, make_sample

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "base"


@pytest.mark.parametrize(("split", "per_class"), [("train", 100), ("t10k", 20)])
def test_the_sample_is_balanced(split: str, per_class: int) -> None:
    images = idx.read_images(SAMPLE / f"{split}-images-idx3-ubyte.gz")
    labels = idx.read_labels(SAMPLE / f"{split}-labels-idx1-ubyte.gz")
    assert images.shape == (10 * per_class, 28, 28)
    assert np.bincount(labels).tolist() == [per_class] * 10


def test_making_the_sample_of_the_sample_gives_the_same_bytes(tmp_path: Path) -> None:
    make_sample(SAMPLE, tmp_path)
    for path in SAMPLE.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_the_first_of_each_class_keep_their_order() -> None:
    labels = np.array([1, 0, 1, 1, 0], np.uint8)
    assert first_of_each_class(labels, 2).tolist() == [0, 1, 2, 4]
