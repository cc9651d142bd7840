"""Deals one set of images out as daily spans."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from data import idx, spans
from data.layout import spans_folder


class SplitError(ValueError):
    """The images cannot be dealt out like that."""


def deal(labels: idx.Bytes, count: int) -> list[npt.NDArray[np.int64]]:
    """Positions of the examples of each of `count` spans, ascending.

    Every span gets its share of every class, so that spans differ by nothing but chance.
    """
    by_class = np.argsort(labels, kind="stable")
    return [np.sort(by_class[start::count]) for start in range(count)]


def lay_out(base: Path, root: Path, count: int) -> list[int]:
    """Writes the base training images as `count` spans of `root`; returns their numbers.

    Raises:
        SplitError: there are spans already, fewer images than spans, or not as many labels.
        IdxError: a file cannot be read.
    """
    present = spans.list_spans(spans_folder(root))
    if present:
        raise SplitError(
            f"{spans_folder(root)} holds {len(present)} spans already; remove them to split anew"
        )
    images = idx.read_images(_file(base, "train-images-idx3-ubyte"))
    labels = idx.read_labels(_file(base, "train-labels-idx1-ubyte"))
    if len(images) != len(labels):
        raise SplitError(f"{base} has {len(images)} images and {len(labels)} labels")
    if not 1 <= count <= len(labels):
        raise SplitError(f"{len(labels)} images cannot be split into {count} spans")
    return [spans.add(root, images[part], labels[part]).span for part in deal(labels, count)]


def _file(base: Path, name: str) -> Path:
    plain = base / name
    return plain if plain.exists() else plain.with_name(f"{name}.gz")
