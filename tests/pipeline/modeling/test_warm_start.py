"""A training can begin with the weights of an exported model, if the architecture is the same."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.modeling.features import CLASS_LABELS
from pipeline.modeling.network import build_model
from pipeline.modeling.signatures import ServingModule, export
from pipeline.modeling.warm_start import exported_weights, take_weights
from pipeline.settings.hyperparameters import Hyperparameters


def small_model(width: int = 4, class_count: int = 10) -> keras.Model:
    return build_model(Hyperparameters(filters=(width, 4), dense_units=8), class_count)


@pytest.fixture
def exported(tmp_path: Path, transform_output) -> tuple[keras.Model, Path]:
    """A model with weights that no initializer gives, and its SavedModel."""
    model = small_model()
    generator = np.random.default_rng(0)
    model.set_weights([generator.random(weight.shape) for weight in model.get_weights()])
    export(ServingModule(model, transform_output), tmp_path / "model")
    return model, tmp_path / "model"


def test_the_weights_are_those_of_the_exported_model(exported: tuple[keras.Model, Path]) -> None:
    model, directory = exported
    new = small_model()
    assert take_weights(new, directory, CLASS_LABELS)
    for expected, weights in zip(model.get_weights(), new.get_weights(), strict=True):
        np.testing.assert_array_equal(weights, expected)
    images = np.random.default_rng(1).random((4, 28, 28, 1), np.float32)
    np.testing.assert_allclose(new.predict(images), model.predict(images), rtol=1e-5)


def test_another_architecture_keeps_its_own_weights_and_says_so(
    exported: tuple[keras.Model, Path], caplog: pytest.LogCaptureFixture
) -> None:
    _, directory = exported
    wider = small_model(width=8)
    before = wider.get_weights()
    assert not take_weights(wider, directory, CLASS_LABELS)
    for expected, weights in zip(before, wider.get_weights(), strict=True):
        np.testing.assert_array_equal(weights, expected)
    assert "has another architecture" in caplog.text
    assert "training from scratch" in caplog.text


def test_a_model_that_was_exported_otherwise_gives_no_weights(tmp_path: Path) -> None:
    module = tf.Module()
    module.variable = tf.Variable(1.0)
    tf.saved_model.save(module, str(tmp_path))
    assert exported_weights(tmp_path) == []
    assert not take_weights(small_model(), tmp_path, CLASS_LABELS)


# A class more in the middle, one less, another order, and all of it together.
@pytest.mark.parametrize(
    "labels",
    [
        (*CLASS_LABELS[:4], "Hat", *CLASS_LABELS[4:]),
        CLASS_LABELS[1:],
        CLASS_LABELS[::-1],
        ("Hat", *CLASS_LABELS[7:2:-1], "Sock"),
    ],
    ids=["one more", "one less", "another order", "all of it"],
)
def test_of_other_classes_what_both_know_is_kept_and_the_rest_begins_anew(
    exported: tuple[keras.Model, Path], labels: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    model, directory = exported
    new = small_model(class_count=len(labels))
    before = new.get_weights()

    with caplog.at_level("INFO"):
        assert take_weights(new, directory, labels)

    old, now = model.get_weights(), new.get_weights()
    for expected, weights in zip(old[:-2], now[:-2], strict=True):
        np.testing.assert_array_equal(weights, expected)
    for place in (-2, -1):
        for id_, label in enumerate(labels):
            known = label in CLASS_LABELS
            kept = old[place][..., CLASS_LABELS.index(label)] if known else before[place][..., id_]
            np.testing.assert_array_equal(now[place][..., id_], kept)
    anew = ", ".join(label for label in labels if label not in CLASS_LABELS)
    assert ("the last layer begins anew for " + anew in caplog.text) is bool(anew)


def test_of_other_classes_another_architecture_is_still_another(
    exported: tuple[keras.Model, Path],
) -> None:
    _, directory = exported
    labels = (*CLASS_LABELS, "Hat")
    assert not take_weights(small_model(width=8, class_count=11), directory, labels)
    narrower = build_model(Hyperparameters(filters=(4, 4), dense_units=6), 11)
    assert not take_weights(narrower, directory, labels)
