"""Bad data is refused, and named, before any work is done."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from components.idx_example_gen.verification import verify
from data import idx, spans
from data.layout import Layout, resolve
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
    counts = verify(resolve(root, []), class_count=10, max_pixels=16).by_split
    assert counts["eval"] == 20
    assert counts["train"] + counts["validation"] == 200
    assert 10 <= counts["validation"] <= 30


def test_labels_that_do_not_match_the_images_in_number_are_refused(root: Path) -> None:
    labels = root / "base/train-labels-idx1-ubyte.gz"
    idx.write(labels, np.zeros(199, np.uint8))
    with pytest.raises(DataRefused, match=f"{labels}: 199 labels for the 200 images"):
        verify(resolve(root, []), class_count=10, max_pixels=16)


def test_labels_outside_the_vocabulary_are_refused(root: Path) -> None:
    labels = root / "base/train-labels-idx1-ubyte.gz"
    wrong = np.zeros(200, np.uint8)
    wrong[[3, 70]] = 10, 255
    idx.write(labels, wrong)
    with pytest.raises(DataRefused, match=f"{labels}: 2 labels outside 0 to 9 .10 at 3, 255 at 70"):
        verify(resolve(root, []), class_count=10, max_pixels=16)


_KEPT = [
    ["ant", "bee", "cat"],
    ["ant", "bee", "cat", "asp"],
    ["ant", "wasp", "cat"],
]
_MOVED = [
    (["ant", "bear", "bee", "cat"], "1 was bee, 2 was cat"),
    (["bee", "ant", "cat"], "0 was ant, 1 was bee"),
    (["ant", "cat", "dog"], "2 was cat"),
]


def _numbered_span(root: Path) -> Layout:
    images = np.random.default_rng(1).integers(0, 256, (30, 4, 4), np.uint8)
    spans.add(root, images, np.ones(30, np.uint8), ["ant", "bee", "cat"])
    for part, count in (("train", 200), ("t10k", 20)):
        labels = (np.arange(count) % 3).astype(np.uint8)
        idx.write(root / f"base/{part}-labels-idx1-ubyte.gz", labels)
    return resolve(root, [1])


@pytest.mark.parametrize("labels", _KEPT)
def test_classes_may_come_at_the_end_and_get_other_names(root: Path, labels: list[str]) -> None:
    assert verify(_numbered_span(root), len(labels), 16, labels=labels).by_span == {1: 30}


@pytest.mark.parametrize(("labels", "moved"), _MOVED)
def test_numbers_that_stand_for_other_classes_now_are_refused_and_no_trusted_span_blamed(
    root: Path, labels: list[str], moved: str
) -> None:
    with pytest.raises(DataRefused, match=rf"other classes than .*\({moved}\)") as refused:
        verify(_numbered_span(root), len(labels), 16, labels=labels)
    assert refused.value.blamed_spans == []


def test_a_damaged_list_of_classes_costs_what_it_held(root: Path) -> None:
    layout = _numbered_span(root)
    (root / "spans/1" / spans.CLASSES_FILE).write_text("[")
    assert verify(layout, 3, 16, labels=["cat", "bee", "ant"]).by_span == {1: 30}


def test_every_damaged_file_is_named_at_once(root: Path) -> None:
    (root / "base/train-images-idx3-ubyte.gz").write_bytes(b"no gzip")
    labels = root / "base/t10k-labels-idx1-ubyte.gz"
    labels.write_bytes(labels.read_bytes()[:-10])
    with pytest.raises(DataRefused) as refused:
        verify(resolve(root, []), class_count=10, max_pixels=16)
    first, second = refused.value.reasons
    assert "train-images-idx3-ubyte.gz: corrupt gzip" in first
    assert "t10k-labels-idx1-ubyte.gz: truncated" in second


def test_files_without_images_or_with_too_few_are_refused(root: Path) -> None:
    images = root / "base/train-images-idx3-ubyte.gz"
    labels = root / "base/train-labels-idx1-ubyte.gz"
    idx.write(images, np.zeros((0, 4, 4), np.uint8))
    idx.write(labels, np.zeros(0, np.uint8))
    with pytest.raises(DataRefused, match="holds no image"):
        verify(resolve(root, []), class_count=10, max_pixels=16)
    idx.write(images, np.zeros((1, 4, 4), np.uint8))
    idx.write(labels, np.zeros(1, np.uint8))
    with pytest.raises(DataRefused, match="too few images"):
        verify(resolve(root, []), class_count=10, max_pixels=16)


def test_labels_and_sizes_that_do_not_fit_the_settings_speak_against_the_one_new_span(
    root: Path,
) -> None:
    for span in (1, 2):
        shutil.copytree(root / "base", root / "spans" / str(span))
        for part in ("images-idx3", "labels-idx1"):
            folder = root / "spans" / str(span)
            (folder / f"train-{part}-ubyte.gz").rename(folder / f"{part}-ubyte.gz")
    labels = root / "spans/2/labels-idx1-ubyte.gz"
    idx.write(labels, idx.read_labels(labels) + 1)

    with pytest.raises(DataRefused, match="20 labels outside 0 to 9") as refused:
        verify(resolve(root, [1, 2], [2]), class_count=10, max_pixels=16)
    assert refused.value.blamed_spans == [2]
    for settings in ({"class_count": 9, "max_pixels": 16}, {"class_count": 10, "max_pixels": 15}):
        with pytest.raises(DataRefused) as refused:
            verify(resolve(root, [1, 2], [2]), **settings)
        assert refused.value.blamed_spans == []
    assert "4 x 4 pixels, more than 15 (serving.max_pixels)" in refused.value.reasons[0]
