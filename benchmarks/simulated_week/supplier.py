"""Brings the sample's training images in equal parts, one after another."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.simulated_week.plan import Delivery
from data import idx, spans
from data.split_into_spans import deal
from pipeline.settings.paths import ROOT, SAMPLE_DATA

_SEED = 7


class Supplier:
    """Fills a data root of its own: the sample's test images, and a span for every delivery."""

    def __init__(self, root: Path, deliveries: int) -> None:
        """Lays the data root out, without spans.

        Args:
            root: the data root; it must not be there.
            deliveries: how many parts the training images are dealt out in.
        """
        official = SAMPLE_DATA / "base"
        (root / "base").mkdir(parents=True)
        for path in official.glob("t10k-*"):
            shutil.copy(path, root / "base")
        images = idx.read_images(official / "train-images-idx3-ubyte.gz")
        labels = idx.read_labels(official / "train-labels-idx1-ubyte.gz")
        self.root = root
        self._parts = iter([(images[part], labels[part]) for part in deal(labels, deliveries)])

    def bring(self, delivery: Delivery, settings: Path) -> int:
        """Makes the next part a span, and returns its number.

        Args:
            delivery: in which state it comes.
            settings: the file with them, for the command that takes images in.

        Raises:
            RuntimeError: when that command fails.
        """
        images, labels = next(self._parts)
        if delivery is Delivery.SHUFFLED:
            labels = np.random.default_rng(_SEED).permutation(labels)
        if delivery is Delivery.CORRUPT:
            return self._copy_by_hand(images, labels)
        arrived = self.root / "arrived.npz"
        np.savez(arrived, images=images, labels=labels)
        done = runner("data", "ingest", str(arrived), "--json", "--config", str(settings))
        if done.returncode:
            raise RuntimeError(f"ingest failed: {done.stdout}{done.stderr}")
        return int(json.loads(done.stdout)["span"])

    def _copy_by_hand(self, images: idx.Bytes, labels: idx.Bytes) -> int:
        """Puts half a file where a span is expected, past the command that would refuse it."""
        span = max(spans.list_spans(self.root / "spans"), default=0) + 1
        folder = self.root / "spans" / str(span)
        folder.mkdir(parents=True)
        idx.write(folder / spans.LABELS_FILE, labels)
        idx.write(folder / spans.IMAGES_FILE, images)
        content = (folder / spans.IMAGES_FILE).read_bytes()
        (folder / spans.IMAGES_FILE).write_bytes(content[: len(content) // 2])
        return span


def runner(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `python runner.py`, as a user does."""
    command = [sys.executable, str(ROOT / "runner.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)
