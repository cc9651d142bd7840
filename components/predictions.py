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
    missing = [index for index, digest in enumerate(digests) if digest not in rows]
    if missing:
        asked = [examples[index] for index in missing]
        answers = _ask(model, asked, signature)
        remember(model, signature, asked, answers)
        rows = rows | {digests[index]: row for index, row in zip(missing, answers, strict=True)}
    return np.stack([rows[digest] for digest in digests])


def remember(
    model: Path, signature: str, examples: Sequence[bytes], probabilities: np.ndarray
) -> None:
    """Keeps what a signature of a model answered: float32 [examples, classes]."""
    if sum(map(len, _remembered.values())) + len(examples) <= _MOST_REMEMBERED:
        rows = _remembered.setdefault((str(model), signature), {})
        rows.update(zip(map(_digest, examples), probabilities, strict=True))


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
    (argument,) = run.structured_input_signature[1]
    count = pictures_at_once(loaded)
    batches = [
        run(**{argument: tf.constant(examples[start : start + count])})
        for start in range(0, len(examples), count)
    ]
    return np.concatenate([batch[PROBABILITIES].numpy() for batch in batches])


def _digest(example: bytes) -> bytes:
    return blake2b(example, digest_size=16).digest()
