"""Dealing the training images out as spans."""

from pathlib import Path

import numpy as np
import pytest

from data import idx, spans
from data.split_into_spans import SplitError, deal, lay_out

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "base"


def test_every_example_is_dealt_once_and_every_class_evenly() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10, dtype=np.uint8), 30))
    parts = deal(labels, 7)
    assert sorted(np.concatenate(parts).tolist()) == list(range(300))
    for part in parts:
        assert set(np.bincount(labels[part], minlength=10).tolist()) <= {4, 5}
        assert np.all(np.diff(part) > 0)


def test_the_training_images_become_spans(tmp_path: Path) -> None:
    assert lay_out(SAMPLE, tmp_path, 3) == [1, 2, 3]
    labels = [
        idx.read_labels(tmp_path / "spans" / str(span) / spans.LABELS_FILE) for span in (1, 2, 3)
    ]
    assert [len(part) for part in labels] == [334, 333, 333]
    assert np.bincount(np.concatenate(labels)).tolist() == [100] * 10


def test_spans_that_are_there_are_not_mixed_with_new_ones(tmp_path: Path) -> None:
    lay_out(SAMPLE, tmp_path, 1)
    with pytest.raises(SplitError, match="holds 1 spans already"):
        lay_out(SAMPLE, tmp_path, 2)


def test_images_without_a_label_are_not_dropped(tmp_path: Path) -> None:
    for part, count in (("images-idx3", 10), ("labels-idx1", 5)):
        shape = (count, 4, 4) if part == "images-idx3" else (count,)
        idx.write(tmp_path / f"train-{part}-ubyte", np.zeros(shape, np.uint8))
    with pytest.raises(SplitError, match="has 10 images and 5 labels"):
        lay_out(tmp_path, tmp_path, 2)
    assert spans.list_spans(tmp_path / "spans") == []


def test_more_spans_than_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="1000 images cannot be split into 1001 spans"):
        lay_out(SAMPLE, tmp_path, 1001)
