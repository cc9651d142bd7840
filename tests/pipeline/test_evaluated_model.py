"""A model as Evaluator calls it: Examples by position, answers as by name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import tensorflow as tf

from components.predictions import predict
from pipeline.evaluated_model import custom_eval_shared_model
from pipeline.evaluation import EVALUATED_SIGNATURE, eval_config
from pipeline.settings.thresholds import EvaluationSettings


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers with the length of each Example."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def length(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": tf.strings.length(examples)}

    path = tmp_path_factory.mktemp("model")
    module = tf.Module()
    tf.saved_model.save(module, str(path), signatures={EVALUATED_SIGNATURE: length})
    return path


@contextmanager
def calls_of(signature: Any) -> Iterator[mock.Mock]:
    """Records how the restored signature behind `signature` is called."""
    restored = mock.Mock(
        wraps=signature._signature,
        structured_input_signature=signature._signature.structured_input_signature,
    )
    with mock.patch.object(signature, "_signature", restored):
        yield restored


@pytest.mark.parametrize("has_baseline", [False, True])
def test_a_signature_is_called_by_name(saved: Path, has_baseline: bool) -> None:
    config = eval_config(EvaluationSettings(), has_baseline=has_baseline)
    for spec in config.model_specs:
        shared = custom_eval_shared_model(str(saved), spec.name, config)
        assert shared.model_name == spec.name
        assert shared.is_baseline == spec.is_baseline
        signature = shared.model_loader.load().signatures[EVALUATED_SIGNATURE]
        with calls_of(signature) as restored:
            answer = signature(tf.constant([b"a", b"four"]))
        assert answer["probabilities"].numpy().tolist() == [1, 4]
        (call,) = restored.call_args_list
        assert not call.args
        assert list(call.kwargs) == ["examples"]


def test_few_examples_go_through_the_network_at_once(saved: Path) -> None:
    config = eval_config(EvaluationSettings(), has_baseline=False)
    shared = custom_eval_shared_model(str(saved), "", config)
    signature = shared.model_loader.load().signatures[EVALUATED_SIGNATURE]
    examples = [b"x" * count for count in range(101)]
    with calls_of(signature) as restored:
        answer = signature(tf.constant(examples))
    assert answer["probabilities"].numpy().tolist() == list(range(len(examples)))
    sizes = [len(call.kwargs["examples"]) for call in restored.call_args_list]
    assert sizes == [50, 50, 1]


def test_what_the_model_answered_is_not_asked_again(saved: Path) -> None:
    config = eval_config(EvaluationSettings(), has_baseline=False)
    shared = custom_eval_shared_model(str(saved), "", config)
    shared.model_loader.load().signatures[EVALUATED_SIGNATURE](tf.constant([b"seven..", b"one"]))
    with mock.patch.object(tf.saved_model, "load") as load:
        answers = predict(saved, [b"one", b"seven..", b"one"], EVALUATED_SIGNATURE)
    assert answers.tolist() == [3, 7, 3]
    load.assert_not_called()


def test_a_signature_that_is_not_there_is_named(saved: Path) -> None:
    config = eval_config(EvaluationSettings(), has_baseline=False)
    config.model_specs[0].signature_name = "another"
    shared = custom_eval_shared_model(str(saved), "", config)
    with pytest.raises(KeyError, match="another"):
        shared.model_loader.load()
