"""Bad data is refused, and named, before any work is done."""

from pathlib import Path

import numpy as np
import pytest

from components.idx_example_gen.verification import verify
from data import idx
from data.layout import resolve
from data.refusal import DataRefused


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with 200 training and 20 test images of noise and labels 0 to 9."""
    (tmp_path / "base").mkdir()
    random = np.random.default_rng(0)
    for part, count in (("train", 200), ("t10k", 20)):
        images = random.integers(0, 256, (count, 4, 4), np.uint8)
        idx.write(tmp_path / f"base/{part}-images-idx3-ubyte.gz", images)
        labels = (np.arange(count) % 10).astype(np.uint8)
        idx.write(tmp_path / f"base/{part}-labels-idx1-ubyte.gz", labels)
    return tmp_path


def test_sound_files_are_counted_by_split(root: Path) -> None:
    counts = verify(resolve(root, []), class_count=10).by_split
    assert counts["eval"] == 20
    assert counts["train"] + counts["validation"] == 200
    assert 10 <= counts["validation"] <= 30


def test_labels_that_do_not_match_the_images_in_number_are_refused(root: Path) -> None:
    labels = root / "base/train-labels-idx1-ubyte.gz"
    idx.write(labels, np.zeros(199, np.uint8))
    with pytest.raises(DataRefused, match=f"{labels}: 199 labels for the 200 images"):
        verify(resolve(root, []), class_count=10)


def test_labels_outside_the_vocabulary_are_refused(root: Path) -> None:
    labels = root / "base/train-labels-idx1-ubyte.gz"
    wrong = np.zeros(200, np.uint8)
    wrong[[3, 70]] = 10, 255
    idx.write(labels, wrong)
    with pytest.raises(DataRefused, match=f"{labels}: 2 labels outside 0 to 9 .10 at 3, 255 at 70"):
        verify(resolve(root, []), class_count=10)


def test_every_damaged_file_is_named_at_once(root: Path) -> None:
    (root / "base/train-images-idx3-ubyte.gz").write_bytes(b"no gzip")
    labels = root / "base/t10k-labels-idx1-ubyte.gz"
    labels.write_bytes(labels.read_bytes()[:-10])
    with pytest.raises(DataRefused) as refused:
        verify(resolve(root, []), class_count=10)
    first, second = refused.value.reasons
    assert "train-images-idx3-ubyte.gz: corrupt gzip" in first
    assert "t10k-labels-idx1-ubyte.gz: truncated" in second


def test_files_without_images_or_with_too_few_are_refused(root: Path) -> None:
    images = root / "base/train-images-idx3-ubyte.gz"
    labels = root / "base/train-labels-idx1-ubyte.gz"
    idx.write(images, np.zeros((0, 4, 4), np.uint8))
    idx.write(labels, np.zeros(0, np.uint8))
    with pytest.raises(DataRefused, match="holds no image"):
        verify(resolve(root, []), class_count=10)
    idx.write(images, np.zeros((1, 4, 4), np.uint8))
    idx.write(labels, np.zeros(1, np.uint8))
    with pytest.raises(DataRefused, match="too few images"):
        verify(resolve(root, []), class_count=10)
