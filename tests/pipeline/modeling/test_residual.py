"""The residual network: what it makes of an image's size, and how it begins."""

import keras
import numpy as np
import pytest

from pipeline.modeling.network import build_model
from pipeline.settings.hyperparameters import Hyperparameters, Network


def residual(size: int, **values: object) -> keras.Model:
    settings = {"filters": (4, 6, 8), "convolutions": 2} | values
    hyperparameters = Hyperparameters(network=Network.RESIDUAL, **settings)
    return build_model(hyperparameters, class_count=5, image_shape=(size, size, 3))


def sums(model: keras.Model) -> list[tuple[int, ...]]:
    return [layer.output.shape[1:] for layer in model.layers if isinstance(layer, keras.layers.Add)]


@pytest.mark.parametrize(
    ("size", "edges"), [(28, (14, 7, 4)), (32, (16, 8, 4)), (96, (48, 24, 12))]
)
def test_the_stem_and_every_stage_but_the_first_halve_the_image(
    size: int, edges: tuple[int, ...]
) -> None:
    model = residual(size)
    assert sums(model) == [
        (edge, edge, channels) for edge, channels in zip(edges, (4, 6, 8), strict=True)
    ]
    assert model.output_shape == (None, 5)


@pytest.mark.parametrize(("convolutions", "blocks"), [(1, 1), (2, 1), (4, 2), (6, 3)])
def test_two_convolutions_of_a_stage_are_a_block(convolutions: int, blocks: int) -> None:
    assert len(sums(residual(32, convolutions=convolutions))) == 3 * blocks


def test_the_smallest_image_and_the_most_stages_make_a_model() -> None:
    assert residual(8, filters=(4, 4, 4, 4, 4)).output_shape == (None, 5)


def test_a_block_begins_as_its_shortcut() -> None:
    model = residual(32, filters=(4,), convolutions=2)
    [added] = (layer for layer in model.layers if isinstance(layer, keras.layers.Add))
    probe = keras.Model(model.inputs, [*added.input, added.output])
    _, shortcut, both = probe.predict(np.random.default_rng(0).random((2, 32, 32, 3)), verbose=0)
    np.testing.assert_array_equal(both, shortcut)
