"""What each ingredient of the training buys, in validation accuracy and seconds.

    python -m benchmarks.ingredients [--data DIR] [--seeds 1 2 3] [--only NAME ...] [--output FILE]

Trains the default preset as it is, and once more for every ingredient with only that one changed,
and prints the mean over the seeds. The images are those of the pipeline's train and validation
splits; the test images are left to Evaluator.

Every training has one core for itself, and as many run at once as there are cores: that takes the
least time altogether, and no training waits for another.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from data import idx, splits
from data.fashion_mnist import obtain
from data.layout import Role
from pipeline.best_hyperparameters import with_tuned
from pipeline.code_revision import code_revision
from pipeline.modeling.checkpoints import EpochCheckpoint
from pipeline.modeling.dataset import LabelledImages, image_batches
from pipeline.modeling.determinism import limit_threads
from pipeline.modeling.trainer import train_model
from pipeline.settings.load import load_config
from pipeline.settings.paths import DEFAULT_WORKDIR
from pipeline.tuning.tuner import logits_of

CHANGES: Mapping[str, Mapping[str, Any]] = {
    "default preset": {},
    "learning rate 0.003, not 0.01": {"learning_rate": 3e-3},
    "no label smoothing": {"label_smoothing": 0.0},
    "no weight decay": {"weight_decay": 0.0},
    "no random flips": {"random_flip": False},
    "dropout 0.3": {"dropout": 0.3},
    "no random shifts": {"random_shift": 0},
    "cutout of 8 pixels": {"cutout": 8},
    "weights averaged": {"ema_momentum": 0.998},
    "one convolution a stage": {"convolutions": 1},
    "no dense layer": {"dense_units": 0},
    "muon, learning rate 0.006": {"optimizer": "muon", "learning_rate": 6e-3},
    "batches of 128": {"batch_size": 128},
    "half the epochs": {"epochs": 8},
    "one and a half times the epochs": {"epochs": 24},
}


class Outcome(BaseModel):
    """One training: validation accuracy, with the mirror image averaged in, processor seconds."""

    accuracy: float
    accuracy_flipped: float
    seconds: float


def main() -> None:
    """Runs the benchmark; the table is written anew after every training."""
    arguments = _arguments()
    obtain(arguments.data)
    names = arguments.only or list(CHANGES)
    outcomes: dict[str, list[Outcome]] = {name: [] for name in names}
    with ProcessPoolExecutor(
        os.cpu_count(), multiprocessing.get_context("spawn"), max_tasks_per_child=1
    ) as processes:
        trainings = {
            processes.submit(_train, name, seed, arguments.data): (name, seed)
            for seed in arguments.seeds
            for name in names
        }
        for training in as_completed(trainings):
            name, seed = trainings[training]
            outcomes[name].append(training.result())
            Console(stderr=True).print(f"seed {seed}, {name}: {training.result()}", highlight=False)
            if arguments.output:
                arguments.output.write_text(_markdown(outcomes))
    Console().print(_table(outcomes))


def splits_of(data: Path) -> tuple[LabelledImages, LabelledImages]:
    """Returns the images that the pipeline trains with, and those that it validates with."""
    images = idx.read_images(data / "train-images-idx3-ubyte.gz")
    labels = idx.read_labels(data / "train-labels-idx1-ubyte.gz").astype(np.int64)
    split_of = splits.split_of(Role.TRAINING, splits.digests(images))

    def part(name: str) -> LabelledImages:
        chosen = split_of == splits.SPLITS.index(name)
        return LabelledImages(images[chosen][..., None] / np.float32(255), labels[chosen])

    return part("train"), part("validation")


def _train(name: str, seed: int, data: Path) -> Outcome:
    limit_threads(1)
    train, validation = splits_of(data)
    hyperparameters = with_tuned(load_config("default").training, {"seed": seed, **CHANGES[name]})
    with tempfile.TemporaryDirectory() as folder:
        # Not the clock's: other programs may want the cores, too.
        started = time.process_time()
        checkpoint = EpochCheckpoint(Path(folder) / "checkpoints")
        model = train_model(train, validation, hyperparameters, checkpoint, Path(folder))
        seconds = time.process_time() - started
    logits, flipped = (
        logits_of(model, image_batches(validation), mirrored=mirrored) for mirrored in (False, True)
    )
    return Outcome(
        accuracy=np.mean(logits.argmax(1) == validation.labels),
        accuracy_flipped=np.mean(flipped.argmax(1) == validation.labels),
        seconds=seconds,
    )


def _rows(outcomes: Mapping[str, list[Outcome]]) -> list[tuple[str, ...]]:
    return [
        (
            name,
            f"{mean(each.accuracy for each in of):.4f}",
            f"{mean(each.accuracy_flipped for each in of):.4f}",
            f"{mean(each.seconds for each in of):.0f}",
            str(len(of)),
        )
        for name, of in outcomes.items()
        if of
    ]


_HEADINGS = (
    "training",
    "validation accuracy",
    "with the mirror image",
    "seconds of one core",
    "seeds",
)


def _table(outcomes: Mapping[str, list[Outcome]]) -> Table:
    table = Table(*_HEADINGS)
    for row in _rows(outcomes):
        table.add_row(*row)
    return table


def _markdown(outcomes: Mapping[str, list[Outcome]]) -> str:
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, revision {code_revision()}; means over the seeds. "
        "`python -m benchmarks.ingredients`",
        "",
        f"| {' | '.join(_HEADINGS)} |",
        "|---|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in _rows(outcomes)),
    ]
    return "\n".join(lines) + "\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_WORKDIR / "data" / "base")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--only", choices=list(CHANGES), nargs="+")
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
