"""Training resumes where it was killed, and a seed fixes what it computes."""

import errno
import importlib
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.modeling.callbacks import TrainingDivergedError
from pipeline.modeling.checkpoints import EpochCheckpoint
from pipeline.modeling.dataset import LabelledImages
from pipeline.modeling.image_store import ImageStore, make_store
from pipeline.modeling.network import build_model
from pipeline.modeling.trainer import train_model
from pipeline.settings.hyperparameters import Hyperparameters, Precision, Stream


@pytest.fixture(scope="module")
def split() -> LabelledImages:
    generator = np.random.default_rng(0)
    return LabelledImages(
        generator.random((64, 28, 28, 1), np.float32), generator.integers(0, 10, 64)
    )


TINY = Hyperparameters(
    epochs=3,
    batch_size=16,
    filters=(4, 4),
    convolutions=1,
    dense_units=8,
    dropout=0.3,
    precision=Precision.FLOAT32,
)


def train(split: LabelledImages, folder: Path, hyperparameters: Hyperparameters = TINY):
    return train_model(split, split, hyperparameters, EpochCheckpoint(folder / "c"), folder)


class Killed(Exception):
    pass


class KillAfter(EpochCheckpoint):
    """Stands for a process that dies right after an epoch was kept."""

    def __init__(self, directory: Path, epoch: int) -> None:
        super().__init__(directory)
        self._last = epoch

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        if epoch + 1 == self._last:
            raise Killed


@pytest.mark.parametrize("network", ["cnn", "tests.tiny_networks:that_draws"])
def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(
    split: LabelledImages, tmp_path: Path, caplog: pytest.LogCaptureFixture, network: str
) -> None:
    how = TINY.model_copy(update={"network": network})
    whole = train(split, tmp_path / "whole", how)
    with pytest.raises(Killed):
        train_model(split, split, how, KillAfter(tmp_path / "killed" / "c", 2), tmp_path)
    with caplog.at_level("INFO"):
        resumed = train(split, tmp_path / "killed", how)

    assert "training resumes after epoch 2 of 3" in caplog.text
    for expected, weights in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-5)
    assert epochs_in_history(tmp_path / "killed") == epochs_in_history(tmp_path / "whole")


def epochs_in_history(folder: Path) -> list[str]:
    return [line.partition(",")[0] for line in (folder / "history.csv").read_text().splitlines()]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_byte_of_the_weights(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-len(content) // 3] ^= 0xFF
    path.write_bytes(content)


def put_another_archive_there(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")


@pytest.mark.parametrize(
    "damage", [truncate, empty, flip_a_byte_of_the_weights, put_another_archive_there]
)
def test_a_damaged_checkpoint_costs_no_more_than_its_epoch(
    split: LabelledImages,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None],
) -> None:
    checkpoints = tmp_path / "c"
    with pytest.raises(Killed):
        train_model(split, split, TINY, KillAfter(checkpoints, 2), tmp_path)
    damage(checkpoints / "0002.keras")

    with caplog.at_level("INFO"):
        train(split, tmp_path)

    assert "training resumes after epoch 1 of 3" in caplog.text
    assert epochs_in_history(tmp_path) == ["epoch", "0", "1", "2"]
    assert [path.name for path in sorted(checkpoints.glob("*.keras"))] == [
        "0002.keras",
        "0003.keras",
    ]


def test_without_a_sound_checkpoint_the_training_starts_anew(
    split: LabelledImages, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Killed):
        train_model(split, split, TINY, KillAfter(tmp_path / "c", 2), tmp_path)
    for path in (tmp_path / "c").glob("*.keras"):
        empty(path)

    train(split, tmp_path)

    assert caplog.text.count("is damaged and left out") == 2
    assert epochs_in_history(tmp_path) == ["epoch", "0", "1", "2"]


def test_a_checkpoint_that_was_being_written_is_ignored(
    split: LabelledImages, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        train_model(split, split, TINY, KillAfter(tmp_path / "c", 1), tmp_path)
    (tmp_path / "c" / "partial.keras").write_bytes(b"half of a file")
    epochs_done, model = EpochCheckpoint(tmp_path / "c").restore(build_model(TINY))
    assert epochs_done == 1
    assert model is not None


@pytest.mark.parametrize(
    "accident",
    [
        OSError(errno.EIO, "Input/output error"),
        MemoryError(),
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"),
    ],
)
def test_an_accident_in_reading_ends_the_training_and_costs_no_checkpoint(
    split: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accident: Exception
) -> None:
    with pytest.raises(Killed):
        train_model(split, split, TINY, KillAfter(tmp_path / "c", 2), tmp_path)
    kept = contents(tmp_path / "c")

    def fail(path: Path) -> None:
        raise accident

    monkeypatch.setattr(keras.models, "load_model", fail)
    with pytest.raises(type(accident)):
        train(split, tmp_path)
    assert contents(tmp_path / "c") == kept


def test_a_checkpoint_that_cannot_be_opened_ends_the_training(
    split: LabelledImages, tmp_path: Path
) -> None:
    (tmp_path / "c" / "0001.keras").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        train(split, tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


OWN_NETWORK = """
import os
import keras

@keras.saving.register_keras_serializable(package="own")
class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x

def build(hyperparameters, class_count, image_shape):
    inputs = keras.Input(image_shape)
    x = keras.layers.Flatten()(Twice()(inputs))
    x = keras.layers.Dense(int(os.environ["WIDTH"]))(x)
    return keras.Model(inputs, keras.layers.Dense(class_count)(x))
"""
OWN = TINY.model_copy(update={"network": "own_network:build", "epochs": 4})


@pytest.fixture
def killed_own(
    split: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Where a training of a user's network was killed after its third epoch, by another process."""
    (tmp_path / "own_network.py").write_text(OWN_NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("WIDTH", "8")
    with pytest.raises(Killed):
        train_model(split, split, OWN, KillAfter(tmp_path / "c", 3), tmp_path)
    forget_own_network()
    yield tmp_path
    forget_own_network()


def forget_own_network() -> None:
    sys.modules.pop("own_network", None)
    keras.saving.get_custom_objects().pop("own>Twice", None)


def test_a_training_with_layers_of_ones_own_resumes_in_another_process(
    split: LabelledImages, killed_own: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        train(split, killed_own, OWN)
    assert "training resumes after epoch 3 of 4" in caplog.text
    assert "left out" not in caplog.text


def test_checkpoints_of_another_network_are_left_out_and_not_in_the_way(
    split: LabelledImages,
    killed_own: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("WIDTH", "16")
    with pytest.raises(Killed):
        train_model(split, split, OWN, KillAfter(killed_own / "c", 1), killed_own)
    assert caplog.text.count("is of another network and left out") == 2
    assert sorted(path.stem for path in (killed_own / "c").glob("*.keras")) == [
        "0001",
        "0002",
        "0003",
    ]

    with caplog.at_level("INFO"):
        model = train(split, killed_own, OWN)

    assert "training resumes after epoch 1 of 4" in caplog.text
    assert model.layers[-2].units == 16
    assert epochs_in_history(killed_own) == ["epoch", "0", "1", "2", "3"]


def test_a_checkpoint_whose_layers_are_not_known_any_more_is_left_out(
    split: LabelledImages, killed_own: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = OWN_NETWORK.replace("class Twice", "class Double").replace("Twice()", "Double()")
    (killed_own / "own_network.py").write_text(text)
    importlib.invalidate_caches()
    train(split, killed_own, OWN)
    sentence = "cannot be used and is left out: Could not locate class 'Twice'\n"
    assert caplog.text.count(sentence) == 2
    assert epochs_in_history(killed_own) == ["epoch", "0", "1", "2", "3"]


def test_a_seed_fixes_the_first_weights(split: LabelledImages, tmp_path: Path) -> None:
    first, second = (train(split, tmp_path / name) for name in ("first", "second"))
    for expected, weights in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-5)


def test_history_and_tensorboard_logs_are_kept(split: LabelledImages, tmp_path: Path) -> None:
    train(split, tmp_path)
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert lines[0].split(",") == ["epoch", "accuracy", "loss", "val_accuracy", "val_loss"]
    assert len(lines) == 4
    assert list((tmp_path / "tensorboard").rglob("events.out.tfevents.*"))


@pytest.mark.parametrize("images", [1, 30])
def test_a_batch_larger_than_the_data_becomes_smaller_and_says_so(
    split: LabelledImages, tmp_path: Path, caplog: pytest.LogCaptureFixture, images: int
) -> None:
    few = LabelledImages(split.images[:images], split.labels[:images])
    train(few, tmp_path, TINY.model_copy(update={"batch_size": 100}))
    assert f"batch_size is 100, but there are only {images} training images" in caplog.text
    assert epochs_in_history(tmp_path) == ["epoch", "0", "1", "2"]


def test_a_diverged_training_ends_at_once(split: LabelledImages, tmp_path: Path) -> None:
    with pytest.raises(
        TrainingDivergedError, match=r"step \d of epoch 1: .*learning_rate may help"
    ):
        train(split, tmp_path, TINY.model_copy(update={"learning_rate": 1e30}))
    assert not list((tmp_path / "c").glob("*.keras"))


def stored(images: np.ndarray, store: ImageStore) -> ImageStore:
    for begin in range(0, len(images), 10):
        store.append(images[begin : begin + 10])
    return store


def test_streamed_from_disk_the_weights_are_those_of_floats_in_memory(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (64, 28, 28, 1)).astype(np.float32) / np.float32(255)
    how = TINY.model_copy(update={"random_shift": 2, "cutout": 4})
    trained = {}
    for name, kept in {
        "floats": images,
        "in memory": stored(images, make_store(Stream.NEVER, tmp_path)),
        "on disk": stored(images, make_store(Stream.ALWAYS, tmp_path)),
    }.items():
        split = LabelledImages(kept, np.arange(64) % 10)
        trained[name] = train(split, tmp_path / name, how).get_weights()
    for name in ("in memory", "on disk"):
        for expected, weights in zip(trained["floats"], trained[name], strict=True):
            np.testing.assert_array_equal(weights, expected)
