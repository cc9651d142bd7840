"""What models answer to examples, asked at most once in a process.

In a run on one machine Evaluator, ModelDiff and the report ask the same models about the same
examples, one after the other, and a network takes seconds for ten thousand of them.
"""

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

PROBABILITIES = "probabilities"

# A network keeps megabytes of a large picture, so that few go through it at once. Of small ones,
# more keep both processors busy; these many of 28 pixels a side take a tenth less time than fifty.
_LEAST_AT_ONCE = 50
_MOST_AT_ONCE = 500
_PIXELS_AT_ONCE = _MOST_AT_ONCE * 28 * 28
# So many take some 40 MB with ten classes; what comes later is asked again.
_MOST_REMEMBERED = 100_000

_Rows = dict[bytes, np.ndarray]
_remembered: dict[tuple[str, str], _Rows] = {}


def predict(model: Path, examples: Sequence[bytes], signature: str) -> np.ndarray:
    """Returns a SavedModel's class probabilities, float32 [examples, classes].

    Args:
        model: the SavedModel's directory, which stays as it is.
        examples: serialized tf.Examples.
        signature: a signature whose only input takes them, with the output `probabilities`.

    Raises:
        ValueError: the model has no such signature or output.
    """
    digests = [_digest(example) for example in examples]
    rows = _remembered.get((str(model), signature), {})
    missing = {
        digest: example
        for digest, example in zip(digests, examples, strict=True)
        if digest not in rows
    }
    if missing:
        answers = _ask(model, list(missing.values()), signature)
        answered = dict(zip(missing, answers, strict=True))
        _keep(model, signature, answered)
        rows = rows | answered
    return np.stack([rows[digest] for digest in digests])


def remember(
    model: Path, signature: str, examples: Sequence[bytes], probabilities: np.ndarray
) -> None:
    """Keeps what a signature of a model answered: float32 [examples, classes]."""
    _keep(model, signature, dict(zip(map(_digest, examples), probabilities, strict=True)))


def call_in_parts(signature: Any, examples: tf.Tensor, at_once: int) -> dict[str, tf.Tensor]:
    """Returns the outputs of a restored signature for any number of examples.

    Args:
        signature: its only input is a batch of strings.
        examples: string [examples].
        at_once: how many go through the network together.
    """
    (argument,) = signature.structured_input_signature[1]
    parts = [
        signature(**{argument: examples[begin : begin + at_once]})
        for begin in range(0, max(1, len(examples)), at_once)
    ]
    return {name: tf.concat([part[name] for part in parts], axis=0) for name in parts[0]}


def pictures_at_once(model: Any) -> int:
    """Returns how many pictures a loaded SavedModel is best given at once.

    Its signature that takes pixels, float32 [n, height, width, channels], tells their size; without
    one they may be large.
    """
    inputs = [
        spec.shape
        for signature in model.signatures.values()
        for spec in signature.structured_input_signature[1].values()
    ]
    sizes = [shape[1] * shape[2] for shape in inputs if shape.rank == 4 and all(shape[1:])]
    if not sizes:
        return _LEAST_AT_ONCE
    return min(max(_PIXELS_AT_ONCE // max(sizes), _LEAST_AT_ONCE), _MOST_AT_ONCE)


def _ask(model: Path, examples: Sequence[bytes], signature: str) -> np.ndarray:
    loaded = tf.saved_model.load(str(model))
    if signature not in loaded.signatures:
        raise ValueError(f"{model} has no signature {signature}")
    run = loaded.signatures[signature]
    if PROBABILITIES not in run.structured_outputs:
        raise ValueError(f"signature {signature} of {model} has no output {PROBABILITIES}")
    outputs = call_in_parts(run, tf.constant(examples), pictures_at_once(loaded))
    return outputs[PROBABILITIES].numpy()


def _keep(model: Path, signature: str, answers: _Rows) -> None:
    if sum(map(len, _remembered.values())) + len(answers) <= _MOST_REMEMBERED:
        _remembered.setdefault((str(model), signature), {}).update(answers)


def _digest(example: bytes) -> bytes:
    return blake2b(example, digest_size=16).digest()
