"""How accurate a preset's model is, over several seeds, and how long its training takes.

    python -m benchmarks.accuracy [--preset default] [--seeds 1 2 3] [--set section.key=value]
        [--data DIR] [--output FILE.md]

Trains as Trainer does, one training after the other, calibrates as it does, and then looks at the
10,000 test images once, with the mirror image averaged in where the exported model does. What a
preset is made of was chosen on the validation images alone.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean

import numpy as np
import tensorflow as tf
from pydantic import BaseModel

from benchmarks.ingredients import splits_of
from benchmarks.training_step import processor
from data import idx
from data.fashion_mnist import obtain
from pipeline.code_revision import code_revision
from pipeline.modeling.calibration import class_probabilities, fit_temperature
from pipeline.modeling.checkpoints import EpochCheckpoint
from pipeline.modeling.dataset import LabelledImages, image_batches
from pipeline.modeling.determinism import limit_threads
from pipeline.modeling.precision import training_policy
from pipeline.modeling.trainer import train_model
from pipeline.settings.hyperparameters import Hyperparameters
from pipeline.settings.load import load_config
from pipeline.settings.paths import DEFAULT_WORKDIR
from pipeline.tuning.tuner import logits_of

_BINS = 15


class Outcome(BaseModel):
    """One training: accuracies and the expected calibration error as shares, seconds."""

    seed: int
    validation: float
    test: float
    calibration_error: float
    seconds: float


def main() -> None:
    """Runs the benchmark; the table is written anew after every training."""
    arguments = _arguments()
    obtain(arguments.data)
    hyperparameters = load_config(arguments.preset, None, arguments.overrides).training
    limit_threads(hyperparameters.threads)
    outcomes: list[Outcome] = []
    for seed in arguments.seeds:
        seeded = hyperparameters.model_copy(update={"seed": seed})
        outcomes.append(_train(seeded, arguments.data))
        lines = list(_report(arguments, hyperparameters, outcomes))
        if arguments.output:
            arguments.output.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _train(hyperparameters: Hyperparameters, data: Path) -> Outcome:
    train, validation = splits_of(data)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        checkpoint = EpochCheckpoint(Path(folder) / "checkpoints")
        model = train_model(train, validation, hyperparameters, checkpoint, Path(folder))
        seconds = time.monotonic() - began
    mirrored = hyperparameters.test_time_flip
    of_validation = logits_of(model, image_batches(validation), mirrored=mirrored)
    smoothing = hyperparameters.label_smoothing
    temperature = fit_temperature(of_validation, validation.labels, smoothing)
    images = idx.read_images(data / "t10k-images-idx3-ubyte.gz")[..., None] / np.float32(255)
    labels = idx.read_labels(data / "t10k-labels-idx1-ubyte.gz")
    test = image_batches(LabelledImages(images, labels))
    of_test = logits_of(model, test, mirrored=mirrored)
    probabilities = class_probabilities(tf.constant(of_test), temperature, smoothing).numpy()
    return Outcome(
        seed=hyperparameters.seed,
        validation=np.mean(of_validation.argmax(1) == validation.labels),
        test=np.mean(probabilities.argmax(1) == labels),
        calibration_error=calibration_error(probabilities, labels),
        seconds=seconds,
    )


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the expected calibration error over 15 bins of equal width.

    https://arxiv.org/abs/1706.04599, equation 3.

    Args:
        probabilities: float [N, classes].
        labels: int [N].
    """
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    gaps = [abs(float(np.sum(sure[bins == b]) - np.sum(right[bins == b]))) for b in range(_BINS)]
    return sum(gaps) / len(labels)


def _report(
    arguments: argparse.Namespace, hyperparameters: Hyperparameters, of: Sequence[Outcome]
) -> Iterator[str]:
    settings = "".join(f" --set {override}" for override in arguments.overrides)
    yield (
        f"{datetime.now(UTC):%Y-%m-%d}, revision {code_revision()}, {os.cpu_count()} cores "
        f"({processor()}), {training_policy(hyperparameters.precision)}, load average "
        f"{os.getloadavg()[0]:.1f}. "
        f"`python -m benchmarks.accuracy --preset {arguments.preset}{settings}`"
    )
    yield ""
    yield "| seed | validation accuracy | test accuracy | calibration error | seconds of training |"
    yield "|---|---|---|---|---|"
    for each in of:
        yield (
            f"| {each.seed} | {each.validation:.4f} | {each.test:.4f} "
            f"| {each.calibration_error:.4f} | {each.seconds:.0f} |"
        )
    yield (
        f"| mean | {mean(each.validation for each in of):.4f} "
        f"| **{mean(each.test for each in of):.4f}** "
        f"| {mean(each.calibration_error for each in of):.4f} "
        f"| {mean(each.seconds for each in of):.0f} |"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", default="default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--data", type=Path, default=DEFAULT_WORKDIR / "data" / "base")
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
