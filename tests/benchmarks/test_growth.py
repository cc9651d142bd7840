"""Data that has grown is more of the same: as many images of each label, and no two alike."""

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.growth import draw, grow
from data import idx, splits
from pipeline.settings.paths import SAMPLE_DATA


def test_images_are_repeated_with_noise_and_their_labels_as_they_are(tmp_path: Path) -> None:
    grow(SAMPLE_DATA / "base", tmp_path / "root", base=300, factor=10)
    images = idx.read_images(tmp_path / "root" / "train-images-idx3-ubyte")
    labels = idx.read_labels(tmp_path / "root" / "train-labels-idx1-ubyte")
    assert images.shape == (3_000, 28, 28)
    assert len(set(splits.digests(images).tolist())) == 3_000
    assert (labels.reshape(10, 300) == labels[:300]).all()
    original = idx.read_images(SAMPLE_DATA / "base" / "train-images-idx3-ubyte.gz")[:300]
    assert np.abs(images[:300].astype(int) - original).max() == 8
    assert len(idx.read_images(tmp_path / "root" / "t10k-images-idx3-ubyte")) == 500


def test_pictures_are_in_a_folder_per_class_and_no_two_alike(tmp_path: Path) -> None:
    draw(tmp_path, count=60, edge=32)
    train = list((tmp_path / "train").rglob("*.jpg"))
    assert (len(train), len(list((tmp_path / "test").rglob("*.jpg")))) == (60, 10)
    assert len({path.parent for path in train}) == 10
    assert len({path.read_bytes() for path in train}) == 60
    assert Image.open(train[0]).size == (32, 32)
