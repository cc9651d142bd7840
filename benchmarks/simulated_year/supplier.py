"""Brings images, in the state that the plan asks for."""

import shutil
from pathlib import Path

import numpy as np

from benchmarks.simulated_year.plan import Accident, Delivery
from data import idx, spans
from data.fashion_mnist import DatasetError, obtain
from pipeline.settings.paths import SAMPLE_DATA

_IMAGES, _LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
_NOISE = 8.0


class Supplier:
    """Fills a data root: the sample as the base, and a span for every delivery.

    Attributes:
        root: the data root.
        source: where the images of the spans come from, for the record.
    """

    def __init__(self, root: Path, seed: int, *, official: bool) -> None:
        """Lays the data root out, without spans.

        Args:
            root: the data root; it must not be there.
            seed: of the images that are chosen.
            official: draw spans from the 60,000 official training images; otherwise, and where
                they cannot be had, from the sample's, with some noise.
        """
        shutil.copytree(SAMPLE_DATA / "base", root / "base")
        self.root = root
        self.source, folder = "the sample, with noise", SAMPLE_DATA / "base"
        if official:
            try:
                folder = obtain(root.parent / "official").folder
                self.source = "the official training images"
            except DatasetError as error:
                self.source += f" ({error})"
        self._noise = 0.0 if folder != SAMPLE_DATA / "base" else _NOISE
        self._images = idx.read_images(folder / _IMAGES)
        self._labels = idx.read_labels(folder / _LABELS)
        self._random = np.random.default_rng(seed)
        self._half_copied: list[Path] = []

    def bring(self, delivery: Delivery, *, half_copied: bool = False) -> int:
        """Makes a delivery the next span, and returns its number.

        Args:
            delivery: how many images, in which state.
            half_copied: its images are still being copied, under a name that begins with a dot.
        """
        images, labels = self._draw(delivery.images)
        if delivery.kind is Accident.SHUFFLED:
            labels = self._random.permutation(labels)
        if delivery.kind is Accident.INVERTED:
            images = 255 - images
        span = spans.add(self.root, images, labels).span
        folder = self.root / "spans" / str(span)
        file = folder / spans.IMAGES_FILE
        if delivery.kind is Accident.CORRUPT:
            content = file.read_bytes()
            file.write_bytes(content[: len(content) // 2])
        if half_copied:
            self._half_copied.append(file.rename(folder / f".{spans.IMAGES_FILE}.aB3xY"))
        return span

    def complete(self) -> None:
        """Ends the copying that was begun."""
        for copy in self._half_copied:
            copy.rename(copy.with_name(spans.IMAGES_FILE))
        self._half_copied.clear()

    def _draw(self, count: int) -> tuple[idx.Bytes, idx.Bytes]:
        chosen = self._random.choice(len(self._labels), count, replace=False)
        noisy = self._images[chosen] + self._random.normal(0, self._noise, (count, 28, 28))
        return noisy.clip(0, 255).astype(np.uint8), self._labels[chosen]
