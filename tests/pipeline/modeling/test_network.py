"""The network's stages, for the filters and convolutions of the settings."""

import keras
import pytest

from pipeline.modeling.network import NetworkError, build_model
from pipeline.settings.errors import UsageError
from pipeline.settings.hyperparameters import Hyperparameters
from pipeline.settings.load import load_config


def _convolved(model: keras.Model) -> list[tuple[int, ...]]:
    return [
        layer.output.shape[1:] for layer in model.layers if isinstance(layer, keras.layers.ReLU)
    ]


def test_every_stage_but_the_last_halves_the_image() -> None:
    model = build_model(Hyperparameters(filters=(4, 6, 8), convolutions=1))
    assert _convolved(model) == [(14, 14, 4), (7, 7, 6), (7, 7, 8)]


def test_every_stage_has_as_many_convolutions_and_halves_the_image_in_its_first() -> None:
    model = build_model(Hyperparameters(filters=(4, 6), convolutions=3))
    assert _convolved(model) == [(14, 14, 4)] * 3 + [(14, 14, 6)] * 3


@pytest.mark.parametrize("stages", [1, 5])
def test_the_fewest_and_the_most_stages_make_a_model(stages: int) -> None:
    model = build_model(Hyperparameters(filters=(4,) * stages), class_count=7)
    assert model.output_shape == (None, 7)


def test_more_stages_than_the_image_can_be_halved_are_refused_in_the_settings() -> None:
    with pytest.raises(UsageError, match=r"training\.filters.*at most 5"):
        load_config("smoke", overrides=["training.filters=[8, 8, 8, 8, 8, 8]"])


def test_without_dense_units_the_logits_come_from_the_mean_of_each_channel() -> None:
    model = build_model(Hyperparameters(filters=(4, 6), dense_units=0))
    assert model.layers[-1].kernel.shape == (6, 10)


@pytest.mark.parametrize("function", ["on_a_backbone", "in_a_row"])
def test_a_function_of_ones_own_builds_the_network(function: str) -> None:
    own = Hyperparameters(network=f"tests.tiny_networks:{function}")
    model = build_model(own, class_count=3, image_shape=(12, 12, 3))
    assert model.input_shape == (None, 12, 12, 3)
    assert model.output_shape == (None, 3)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ("of_other_classes", r"to \(None, 11\); it is to be one from .* to \(None, 10\)"),
        ("nothing", "returns None, which is no model of Keras"),
        ("whose_output_is_a_dict", "whose output is a dict; it is to be one tensor, the logits"),
        ("whose_output_is_a_list", "whose output is a list; it is to be one tensor, the logits"),
        ("without_an_input", r"does not know its shapes; begin it with keras.Input\(\(28, 28, 1"),
        ("subclassed", "does not know its shapes; .*, which a subclass cannot"),
    ],
)
def test_a_function_that_builds_something_else_is_named(function: str, sentence: str) -> None:
    with pytest.raises(NetworkError, match=f"tests.tiny_networks:{function} .*{sentence}"):
        build_model(Hyperparameters(network=f"tests.tiny_networks:{function}"))
