"""Predictions: right whether asked or remembered, and never more than fit."""

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from components import predictions
from components.predictions import pictures_at_once, predict, remember
from tests.tiny_models import GreyClassifier, grey_examples, save

SIGNATURE = "predict_examples"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(GreyClassifier(), tmp_path_factory.mktemp("model") / "1")


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "_remembered", {})


def test_only_what_was_not_asked_before_is_asked(model: Path) -> None:
    examples = grey_examples(2 * pictures_at_once(tf.saved_model.load(str(model))) + 7)
    every_third = predict(model, examples[::3], SIGNATURE)
    with mock.patch.object(predictions, "_ask", wraps=predictions._ask) as ask:
        everything = predict(model, examples[::-1], SIGNATURE)[::-1]
    (call,) = ask.call_args_list
    assert not set(call.args[1]) & set(examples[::3])
    assert everything.dtype == np.float32
    np.testing.assert_array_equal(everything[::3], every_third)
    np.testing.assert_allclose(everything, predictions._ask(model, examples, SIGNATURE))


@pytest.mark.parametrize(
    ("side", "count"), [(4, 500), (28, 500), (64, 95), (96, 50), (224, 50), (2000, 50), (None, 50)]
)
def test_fewer_pictures_go_through_at_once_the_larger_they_are(
    side: int | None, count: int
) -> None:
    inputs = {
        "pixels": tf.TensorSpec([None, side, side, 3], tf.float32),
        "bytes": tf.TensorSpec([None], tf.string),
    }
    signatures = {
        name: mock.Mock(structured_input_signature=((), {name: spec}))
        for name, spec in inputs.items()
    }
    assert pictures_at_once(mock.Mock(signatures=signatures)) == count


def test_models_and_signatures_are_told_apart(model: Path, tmp_path: Path) -> None:
    other = save(GreyClassifier(spoil=lambda p: tf.reverse(p, [1])), tmp_path / "other")
    examples = grey_examples(5)
    remember(model, "another", examples, np.zeros((5, 5), np.float32))
    answers = predict(model, examples, SIGNATURE)
    np.testing.assert_allclose(predict(other, examples, SIGNATURE), answers[:, ::-1])
    assert answers.any()


def test_what_does_not_fit_is_asked_again(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "_MOST_REMEMBERED", 6)
    examples = grey_examples(10)
    predict(model, examples[:5], SIGNATURE)
    for _ in range(2):
        with mock.patch.object(predictions, "_ask", wraps=predictions._ask) as ask:
            assert len(predict(model, examples, SIGNATURE)) == len(examples)
        assert len(ask.call_args.args[1]) == len(set(examples)) - len(set(examples[:5]))


def test_a_model_without_the_signature_is_named(model: Path) -> None:
    with pytest.raises(ValueError, match="has no signature predict_sounds"):
        predict(model, grey_examples(1), "predict_sounds")
