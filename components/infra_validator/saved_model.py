"""The SavedModel as this process sees it: its signatures, and what they answer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.saved_model import loader_impl

from components.infra_validator.model_refused import ModelRefusedError
from components.infra_validator.requests import Call
from components.infra_validator.spec import ValidationSpec

# Written by TensorFlow into every SavedModel; not a signature.
_INIT_OP = "__saved_model_init_op"

SignatureDefs = Mapping[str, Any]


def read_signatures(model: Path, spec: ValidationSpec) -> SignatureDefs:
    """Reads the signatures of a SavedModel and holds them against what is asked of them.

    Raises:
        ModelRefusedError: the file cannot be read, or its signatures are not the expected ones.
    """
    try:
        graph = loader_impl.SavedModelLoader(str(model)).get_meta_graph_def_from_tags(
            [tf.saved_model.SERVING]
        )
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        raise ModelRefusedError(f"saved_model.pb cannot be read: {_first_line(error)}.") from error
    signatures = {
        name: definition for name, definition in graph.signature_def.items() if name != _INIT_OP
    }
    reasons = [
        f"Signature {name} is missing; the model has {', '.join(sorted(signatures)) or 'none'}."
        for name in spec.requests
        if name not in signatures
    ]
    reasons += [
        f"Signature {name} is in the model, but no request is configured for it."
        for name in signatures
        if name not in spec.requests
    ]
    for name, how in spec.requests.items():
        if name not in signatures:
            continue
        method = signatures[name].method_name
        if method != how.method:
            reasons.append(f"Signature {name} has method name {method}, expected {how.method}.")
        inputs = sorted(signatures[name].inputs)
        if inputs != sorted(how.inputs):
            reasons.append(f"Signature {name} has inputs {inputs}, expected {sorted(how.inputs)}.")
    if reasons:
        raise ModelRefusedError(*reasons)
    return signatures


class InProcessModel:
    """A SavedModel on this process's TensorFlow: what the server's answers are compared with."""

    def __init__(self, model: Path) -> None:
        """Loads the model.

        Raises:
            ModelRefusedError: TensorFlow cannot load it.
        """
        try:
            # The object owns the variables that the signatures use.
            self._loaded = tf.saved_model.load(str(model))
        except (OSError, RuntimeError, ValueError, KeyError, tf.errors.OpError) as error:
            raise ModelRefusedError(
                f"TensorFlow cannot load the model: {_first_line(error)}."
            ) from error

    def answer(self, call: Call) -> dict[str, np.ndarray]:
        """Runs one request.

        Raises:
            ModelRefusedError: the signature fails on it.
        """
        signature = self._loaded.signatures[call.signature]
        inputs = {key: tf.constant(value) for key, value in call.inputs.items()}
        if len(inputs) == 1:
            # A classify signature's argument may be named otherwise than its input.
            ((key, value),) = inputs.items()
            argument = next(iter(signature.structured_input_signature[1]), key)
            inputs = {argument: value}
        try:
            outputs = signature(**inputs)
        except (tf.errors.OpError, TypeError, ValueError) as error:
            raise ModelRefusedError(
                f"Signature {call.signature}, in this process, {call}: {_first_line(error)}."
            ) from error
        return {key: value.numpy() for key, value in outputs.items()}


def _first_line(error: Exception) -> str:
    text = str(getattr(error, "message", "") or error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")
