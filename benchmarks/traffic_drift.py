"""How often a traffic report cries wolf, and which changes of the pictures it finds and names.

    python -m benchmarks.traffic_drift --workdir DIR [--reports 100] [--pictures 400]
        [--repeats 3] [--seed 1] [--output FILE.md]

The workdir has a served version that was trained on the official images. Traffic is drawn from the
10,000 official test images, which no training sees; every report is that of `traffic report`, from
the pictures on.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, ImageFilter

from data import idx
from pipeline.code_revision import code_revision
from pipeline.settings.load import load_config
from pipeline.traffic.drift import Comparison, compare
from pipeline.traffic.statistics import WHOLE, Picture, of_pictures
from pipeline.traffic.training import training_statistics
from serving.versions.store import VersionStore

Change = Callable[[np.ndarray], np.ndarray]


def _blurred(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(1)))


# Each change of a picture, and the features of which one has to come first.
CHANGES: dict[str, tuple[Change, set[str]]] = {
    "inverted": (lambda image: 255 - image, {"mean_pixel"}),
    "moved right by 3 pixels": (lambda image: np.roll(image, 3, axis=1), {"centre_x"}),
    "moved down by 4 pixels": (lambda image: np.roll(image, 4, axis=0), {"centre_y"}),
    "blurred (Gaussian, 1 pixel)": (_blurred, {"sharpness"}),
    "darker (60 %)": (lambda image: image * 0.6, {"mean_pixel", "contrast"}),
    "brighter by 40": (lambda image: np.minimum(image + 40.0, 255), {"mean_pixel"}),
}
SHARES = "a class five times as frequent"


def main() -> None:
    """Makes the reports, and prints the table; writes it to --output if given."""
    parser = argparse.ArgumentParser(description="Measure how a traffic report errs.")
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--reports", type=int, default=100)
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3, help="of each change")
    parser.add_argument("--seed", type=int, default=1, help="of the draws")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    lines = []
    for line in _lines(arguments):
        print(line, flush=True)
        lines.append(line)
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")


def _lines(arguments: argparse.Namespace) -> Iterator[str]:
    trial = Trial(arguments.workdir, arguments.pictures, arguments.seed)
    yield "# Drift of traffic"
    yield ""
    yield (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, revision {code_revision()}. Reports on "
        f"{arguments.pictures} pictures drawn from the official test images, beside version "
        f"{trial.version.number}. `python -m benchmarks.traffic_drift`"
    )
    yield ""
    yield "| traffic | reports | drift | the right feature first | first features |"
    yield "|---|---|---|---|---|"
    found = [trial.report(lambda image: image) for _ in range(arguments.reports)]
    yield _row("like training", found, set())
    for name, (change, expected) in CHANGES.items():
        found = [trial.report(change) for _ in range(arguments.repeats)]
        yield _row(name, found, expected)
    found = [trial.report(lambda image: image, frequent=8) for _ in range(arguments.repeats)]
    yield _row(SHARES, found, {"predicted_label"})


def _row(name: str, found: list[Comparison], expected: set[str]) -> str:
    drifted = [each.drifted[0].feature for each in found if each.drifted]
    right = f"{sum(feature in expected for feature in drifted)}" if expected else ""
    features = ", ".join(sorted(set(drifted)))
    return f"| {name} | {len(found)} | {len(drifted)} | {right} | {features} |"


class Trial:
    """Draws traffic, and compares it with what a workdir's served version was trained on."""

    def __init__(self, workdir: Path, pictures: int, seed: int) -> None:
        """Reads the test images, and counts the training data if that was not done yet."""
        config = load_config(workdir=workdir)
        version = VersionStore(config.serving_base).newest_served()
        if version is None or version.directory is None:
            raise SystemExit(f"no version is served from {config.serving_base}")
        self.version, self._model = version, version.directory
        self._args = config.beam.pipeline_args
        self._limit = config.traffic.max_distance
        self._pictures = pictures
        self._made = 0
        self._random = np.random.default_rng(seed)
        self._images = idx.read_images(config.base_dir / "t10k-images-idx3-ubyte.gz")
        self._labels = idx.read_labels(config.base_dir / "t10k-labels-idx1-ubyte.gz")
        # The first run of a workdir has one execution of ExampleGen.
        examples = next((config.pipeline_root / "IdxExampleGen" / "examples").iterdir())
        folder = config.traffic_dir / "training"
        self._training = training_statistics(version, examples, folder, self._args)

    def report(self, change: Change, frequent: int | None = None) -> Comparison:
        """Makes a report; the pictures of one class may be drawn five times as often."""
        weights = np.where(self._labels == frequent, 5.0, 1.0)
        chosen = self._random.choice(
            len(self._images), self._pictures, replace=False, p=weights / weights.sum()
        )
        changed = np.stack([change(self._images[row]) for row in chosen]).astype(np.uint8)
        encoded = tf.io.encode_png(changed[..., np.newaxis]).numpy()
        shown = [Picture(each, "stable") for each in encoded]
        traffic = of_pictures(shown, self._model, self._args)
        assert traffic
        found = compare(traffic[WHOLE], self._training, self._limit)
        self._made += 1
        drifted = ", ".join(each.feature for each in found.drifted) or "no drift"
        print(f"report {self._made}: {drifted}", file=sys.stderr, flush=True)
        return found


if __name__ == "__main__":
    main()
