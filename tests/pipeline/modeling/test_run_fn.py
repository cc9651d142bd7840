"""run_fn trains with what Tuner found, and begins with the served model if it is to."""

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tfx.components.trainer.fn_args_utils import FnArgs

from pipeline.best_hyperparameters import encode
from pipeline.modeling.checkpoints import EpochCheckpoint
from pipeline.modeling.trainer import run_fn
from pipeline.modeling.warm_start import exported_weights
from pipeline.settings.hyperparameters import Hyperparameters, Precision

TINY = Hyperparameters(
    epochs=1,
    batch_size=16,
    filters=(4, 4),
    convolutions=1,
    dense_units=8,
    test_time_flip=False,
    precision=Precision.FLOAT32,
)


Weights = list[np.ndarray]
Train = Callable[..., tuple[Weights, Path]]


@pytest.fixture(scope="module")
def train(examples: str, transform_graph: str, tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Runs run_fn as Trainer does and returns the exported model's weights and directory."""

    def run(
        hyperparameters: Hyperparameters,
        tuned: dict[str, Any] | None = None,
        base_model: Path | None = None,
        folder: Path | None = None,
        train_files: str = examples,
    ) -> tuple[Weights, Path]:
        folder = folder or tmp_path_factory.mktemp("trainer")
        run_fn(
            FnArgs(
                train_files=[train_files],
                eval_files=[examples],
                transform_graph_path=transform_graph,
                serving_model_dir=str(folder / "model"),
                model_run_dir=str(folder),
                hyperparameters={"space": [], "values": tuned} if tuned else None,
                base_model=str(base_model) if base_model else None,
                custom_config={
                    "hyperparameters": hyperparameters.model_dump(mode="json"),
                    "checkpoints": str(folder / "checkpoints"),
                    "fingerprint": "f",
                },
            )
        )
        return exported_weights(folder / "model"), folder / "model"

    return run


@pytest.fixture(scope="module")
def first(train: Train) -> tuple[Weights, Path]:
    return train(TINY)


def widths(weights: Weights) -> list[int]:
    return [weight.shape[-1] for weight in weights if weight.ndim == 4]


def test_without_tuner_the_settings_are_trained_with(first: tuple[Weights, Path]) -> None:
    weights, _ = first
    assert widths(weights) == [4, 4]


def test_what_tuner_found_is_trained_with(train: Train) -> None:
    weights, _ = train(TINY, tuned={"filters": encode((6, 5))})
    assert widths(weights) == [6, 5]


def test_a_warm_start_begins_with_the_weights_of_the_base_model(
    train: Train, first: tuple[Weights, Path]
) -> None:
    weights, model = first
    # Another seed, so that weights which are not taken over differ, and no step away from them.
    standing_still = {"learning_rate": 1e-12, "weight_decay": 0.0, "seed": 2}
    warm, _ = train(TINY.model_copy(update=standing_still), base_model=model)
    kernels = [index for index, weight in enumerate(weights) if weight.ndim > 1]
    assert kernels
    for index in kernels:
        np.testing.assert_allclose(warm[index], weights[index], atol=1e-6)


@pytest.mark.parametrize("other_images", [False, True])
def test_a_training_resumes_on_the_same_images_and_not_on_others_at_their_place(
    train: Train,
    examples: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    other_images: bool,
) -> None:
    place = tmp_path / "examples.gz"
    shutil.copy(examples, place)
    two_epochs = TINY.model_copy(update={"epochs": 2})
    keep = EpochCheckpoint.on_epoch_end

    def keep_and_die(self: EpochCheckpoint, epoch: int, logs: dict | None = None) -> None:
        keep(self, epoch, logs)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EpochCheckpoint, "on_epoch_end", keep_and_die)
        with pytest.raises(KeyboardInterrupt):
            train(two_epochs, folder=tmp_path, train_files=f"{place}*")
    if other_images:
        place.write_bytes(gzip.compress(gzip.decompress(place.read_bytes()) * 2))

    with caplog.at_level("INFO"):
        train(two_epochs, folder=tmp_path, train_files=f"{place}*")
    assert ("training resumes after epoch 1 of 2" in caplog.text) is not other_images
