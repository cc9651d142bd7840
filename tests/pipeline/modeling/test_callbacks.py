"""What layers draw while a training runs."""

import keras
import numpy as np
import pytest

from pipeline.modeling.callbacks import SeedEpochs


@pytest.fixture
def model() -> keras.Model:
    inputs = keras.Input((8,))
    x = keras.layers.Dropout(0.5)(keras.layers.Dropout(0.5)(inputs))
    return keras.Model(inputs, x)


def states(model: keras.Model, seed: int, epoch: int) -> list[tuple[int, ...]]:
    callback = SeedEpochs(seed)
    callback.set_model(model)
    callback.on_epoch_begin(epoch)
    return [tuple(np.asarray(layer.seed_generator.state)) for layer in model.layers[1:]]


def test_an_epoch_draws_the_same_whatever_was_drawn_before(model: keras.Model) -> None:
    first = states(model, seed=1, epoch=3)
    model(np.ones((4, 8)), training=True)
    assert states(model, seed=1, epoch=3) == first


def test_every_epoch_seed_and_layer_draws_something_else(model: keras.Model) -> None:
    drawn = [
        state for seed in range(3) for epoch in range(100) for state in states(model, seed, epoch)
    ]
    assert len(set(drawn)) == len(drawn) == 600
    assert all(0 <= number < 2**31 and counter == 0 for number, counter in drawn)
