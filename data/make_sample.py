"""Makes the committed sample: a small, balanced part of the official files.

    python -m data.make_sample var/data/base data/sample/base

Of every class it takes the first images in file order, so the same official files always give the
same bytes.
"""

import sys
from pathlib import Path

import numpy as np

from data import idx

TRAIN_IMAGES_PER_CLASS = 100
TEST_IMAGES_PER_CLASS = 20


def first_of_each_class(labels: idx.Bytes, per_class: int) -> np.ndarray:
    """Positions of the first `per_class` examples of every label, ascending, int64."""
    chosen = [np.flatnonzero(labels == label)[:per_class] for label in np.unique(labels)]
    return np.sort(np.concatenate(chosen))


def make_sample(official: Path, destination: Path) -> None:
    """Writes the sample of the files in `base` into `destination`, under the same names."""
    destination.mkdir(parents=True, exist_ok=True)
    for split, per_class in (("train", TRAIN_IMAGES_PER_CLASS), ("t10k", TEST_IMAGES_PER_CLASS)):
        images_name, labels_name = f"{split}-images-idx3-ubyte.gz", f"{split}-labels-idx1-ubyte.gz"
        labels = idx.read_labels(official / labels_name)
        chosen = first_of_each_class(labels, per_class)
        idx.write(destination / images_name, idx.read_images(official / images_name)[chosen])
        idx.write(destination / labels_name, labels[chosen])


if __name__ == "__main__":
    make_sample(Path(sys.argv[1]), Path(sys.argv[2]))
