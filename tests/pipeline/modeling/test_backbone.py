"""A backbone sees what it was trained to see, with its own weights, first frozen, then tuned."""

from pathlib import Path

import keras
import numpy as np
import pytest

from pipeline.modeling.backbone import (
    BACKBONE,
    BackbonePreprocessing,
    Phase,
    WeightsError,
    freeze,
    load_backbone,
    phases,
)
from pipeline.modeling.checkpoints import EpochCheckpoint
from pipeline.modeling.dataset import LabelledImages
from pipeline.modeling.network import build_model
from pipeline.modeling.trainer import _as_float32, train_model
from pipeline.settings.hyperparameters import Hyperparameters, Network, Precision
from pipeline.settings.network import BACKBONES

SHAPE = (32, 32, 3)
MOBILE = Hyperparameters(
    network=Network.BACKBONE, backbone="MobileNet", precision=Precision.FLOAT32
)


@pytest.fixture(scope="module")
def published() -> keras.Model:
    """MobileNet without its top, with numbers that no initializer gives."""
    model = keras.applications.MobileNet(include_top=False, weights=None, input_shape=SHAPE)
    generator = np.random.default_rng(0)
    model.set_weights([generator.uniform(0.05, 0.1, weight.shape) for weight in model.weights])
    return model


@pytest.fixture(scope="module")
def on_mobile() -> keras.Model:
    return build_model(MOBILE, 3, SHAPE)


# As Keras publishes them, and as Keras 3 writes them.
@pytest.mark.parametrize("name", ["no_top.h5", "no_top.weights.h5"])
def test_the_backbone_answers_as_the_model_that_its_weights_are_from(
    published: keras.Model, on_mobile: keras.Model, tmp_path: Path, name: str
) -> None:
    save = published.save_weights if name.endswith(".weights.h5") else published.save
    save(tmp_path / name)
    load_backbone(on_mobile, tmp_path / name)

    pixels = np.random.default_rng(1).integers(0, 256, (2, *SHAPE)).astype(np.float32)
    seen = keras.applications.mobilenet.preprocess_input(pixels.copy())
    inside = on_mobile.get_layer(BACKBONE)(on_mobile.layers[1](pixels / 255), training=False)
    np.testing.assert_allclose(inside, published.predict(seen, verbose=0), rtol=1e-4)


def test_weights_of_another_network_are_refused_in_one_sentence(
    on_mobile: keras.Model, tmp_path: Path
) -> None:
    inputs = keras.Input((4,))
    other = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    for name in ("other.h5", "other.weights.h5"):
        save = other.save_weights if name.endswith(".weights.h5") else other.save
        save(tmp_path / name)
        with pytest.raises(WeightsError, match=f"{name} does not fit the backbone") as refused:
            load_backbone(on_mobile, tmp_path / name)
        assert "\n" not in str(refused.value)


def test_a_network_without_a_backbone_takes_no_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="has no layer named backbone"):
        load_backbone(build_model(Hyperparameters()), tmp_path / "any.h5")


def test_grey_images_are_seen_in_three_equal_channels() -> None:
    scale = BackbonePreprocessing("MobileNet")
    grey = np.linspace(0, 1, 8, dtype=np.float32).reshape(1, 4, 2, 1)
    np.testing.assert_allclose(scale(grey), np.repeat(grey * 2 - 1, 3, axis=-1), atol=1e-6)
    assert scale.compute_output_shape((None, 4, 2, 1)) == (None, 4, 2, 3)


def test_the_backbones_are_those_of_keras_that_need_nothing_but_a_file_of_weights() -> None:
    offered = {name for name in dir(keras.applications) if name[0].isupper()}
    left_out = offered - set(BACKBONES)
    assert set(BACKBONES) <= offered
    assert all(name.startswith(("EfficientNetB", "NASNet")) for name in left_out)


OWN = Hyperparameters(
    network="tests.tiny_networks:on_a_backbone",
    epochs=4,
    frozen_epochs=2,
    fine_tuning_rate=0.01,
    batch_size=16,
    dropout=0.0,
    ema_momentum=0.5,
    precision=Precision.MIXED_BFLOAT16,
)


@pytest.fixture(scope="module")
def split() -> LabelledImages:
    generator = np.random.default_rng(0)
    return LabelledImages(
        generator.random((64, 28, 28, 1), np.float32), generator.integers(0, 10, 64)
    )


def train(split: LabelledImages, folder: Path, how: Hyperparameters = OWN) -> keras.Model:
    return train_model(split, split, how, EpochCheckpoint(folder / "c"), folder)


@pytest.fixture(scope="module")
def whole(split: LabelledImages, tmp_path_factory: pytest.TempPathFactory) -> keras.Model:
    """The model of a training that nothing interrupts."""
    return train(split, tmp_path_factory.mktemp("whole"))


def backbone_of(model: keras.Model) -> list[np.ndarray]:
    return model.get_layer(BACKBONE).get_weights()


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_phases_are_those_of_the_settings() -> None:
    model = build_model(OWN)
    rates = OWN.learning_rate, OWN.fine_tuning_rate
    assert phases(OWN, model) == [Phase(0, 2, rates[0], True), Phase(2, 4, rates[1], False)]
    for frozen, expected in {
        0: [Phase(0, 4, rates[0], False)],
        4: [Phase(0, 4, rates[0], True)],
        9: [Phase(0, 4, rates[0], True)],
    }.items():
        assert phases(OWN.model_copy(update={"frozen_epochs": frozen}), model) == expected
    usual = Hyperparameters()
    assert phases(usual, build_model(usual)) == [Phase(0, usual.epochs, rates[0], False)]


def test_a_frozen_backbone_stays_as_it_is_and_is_tuned_afterwards(
    split: LabelledImages, whole: keras.Model, tmp_path: Path
) -> None:
    first = train(split, tmp_path, OWN.model_copy(update={"epochs": 2}))
    keras.utils.set_random_seed(OWN.seed)
    assert same(backbone_of(first), backbone_of(build_model(OWN)))
    assert not same(backbone_of(whole), backbone_of(first))


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_training_that_was_killed_in_either_phase_ends_as_if_it_had_not_been(
    split: LabelledImages, whole: keras.Model, tmp_path: Path, epochs: int
) -> None:
    class Killed(Exception):
        pass

    class KilledAfter(EpochCheckpoint):
        def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
            super().on_epoch_end(epoch, logs)
            if epoch + 1 == epochs:
                raise Killed

    with pytest.raises(Killed):
        train_model(split, split, OWN, KilledAfter(tmp_path / "c"), tmp_path)
    resumed = train(split, tmp_path)
    for expected, weights in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-5)
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 1 + OWN.epochs


def test_what_is_exported_has_the_weights_in_the_order_of_what_was_trained(
    split: LabelledImages, tmp_path: Path
) -> None:
    trained = build_model(OWN)
    freeze(trained, frozen=True)
    trained.compile("sgd", "categorical_crossentropy")
    trained.save(tmp_path / "frozen.keras")
    restored = keras.models.load_model(tmp_path / "frozen.keras")
    assert len(restored.trainable_weights) == 4
    exported = _as_float32(restored, OWN)
    assert same(exported.get_weights(), trained.get_weights())
    images = split.images[:4]
    np.testing.assert_allclose(
        exported.predict(images, verbose=0), trained.predict(images, verbose=0), rtol=1e-4
    )
