"""How Evaluator calls a model; TFX looks for `custom_eval_shared_model` in the module it is given.

TFMA hands the Examples to a signature by position. A restored signature wants them by name:
TensorFlow first writes a TypeError that quotes the whole batch, catches it, and calls again. That
took as much of the processor as the model did. It also hands over up to a thousand at once, which
are too many large pictures. What the model answers is kept for the nodes that ask it again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow_model_analysis.api import model_eval_lib, types
from tensorflow_model_analysis.proto import config_pb2

from components.predictions import PROBABILITIES, call_in_parts, pictures_at_once, remember


class _Signature:
    """A signature of one input that may be called by position, with any number of Examples."""

    def __init__(self, path: Path, name: str, model: Any) -> None:
        self._path, self._name = path, name
        self._signature = signature = model.signatures[name]
        self._at_once = pictures_at_once(model)
        # TFMA reads the names and shapes of inputs here.
        self.structured_input_signature = signature.structured_input_signature

    def __call__(self, examples: tf.Tensor) -> Mapping[str, tf.Tensor]:
        outputs = call_in_parts(self._signature, examples, self._at_once)
        if PROBABILITIES in outputs:
            answers = outputs[PROBABILITIES].numpy()
            remember(self._path, self._name, list(examples.numpy()), answers)
        return outputs


class _Model:
    """What TFMA needs of a loaded SavedModel."""

    def __init__(self, path: str, signature_name: str) -> None:
        # The variables live as long as the model that owns them.
        self._model = tf.saved_model.load(path)
        self.signatures = {signature_name: _Signature(Path(path), signature_name, self._model)}


def custom_eval_shared_model(
    eval_saved_model_path: str, model_name: str, eval_config: config_pb2.EvalConfig, **_: Any
) -> types.EvalSharedModel:
    """Returns what TFMA loads the model with, in each of Beam's workers.

    Args:
        eval_saved_model_path: the SavedModel.
        model_name: as in `eval_config`.
        eval_config: names the signature, which takes serialized Examples.
    """
    (signature_name,) = {spec.signature_name for spec in eval_config.model_specs}

    def load() -> _Model:
        return _Model(eval_saved_model_path, signature_name)

    shared: types.EvalSharedModel = model_eval_lib.default_eval_shared_model(
        eval_saved_model_path,
        model_name=model_name,
        eval_config=eval_config,
        custom_model_loader=types.ModelLoader(load),
    )
    return shared
