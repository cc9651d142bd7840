"""Begins a training with the weights of an exported model."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from components.vocabulary import read_vocabulary

_log = logging.getLogger(__name__)

# How TensorFlow names the variables in `ServingModule._weights`, in the order of the model's own.
_WEIGHT = re.compile(r"_weights/(\d+)/\.ATTRIBUTES/VARIABLE_VALUE")


def exported_weights(saved_model: Path) -> list[np.ndarray]:
    """Returns the network's weights in a SavedModel of this project, in the order of Keras.

    A SavedModel that was exported otherwise gives none.
    """
    checkpoint = tf.train.load_checkpoint(str(saved_model / "variables" / "variables"))
    numbers = [
        int(match[1])
        for name in checkpoint.get_variable_to_shape_map()
        if (match := _WEIGHT.fullmatch(name))
    ]
    return [
        checkpoint.get_tensor(f"_weights/{number}/.ATTRIBUTES/VARIABLE_VALUE")
        for number in sorted(numbers)
    ]


def take_weights(model: keras.Model, saved_model: Path, labels: Sequence[str]) -> bool:
    """Gives `model` the weights of an exported one, if they are of the same architecture.

    Where the exported model knows other classes, or the same in another order, the last layer keeps
    what belongs to the classes that both know; the others begin as `model` has them.

    If not, the model stays as it is and a warning says so: a changed architecture is not a mistake,
    and an unattended run that stopped for it would need somebody to turn warm start off and on.

    Args:
        model: is changed in place; its last layer gives the logits.
        saved_model: the directory of the exported model.
        labels: names of the classes of `model`, in the order of the logits.

    Returns:
        Whether the weights were taken.
    """
    theirs = exported_weights(saved_model)
    known = read_vocabulary(saved_model) or list(labels)
    taken = _taken(model, theirs, _shared(labels, known), len(known))
    if taken is None:
        _log.warning(
            "the served model has another architecture (%d weights, this one %d): "
            "training from scratch",
            sum(map(np.size, theirs)),
            model.count_params(),
        )
        return False
    model.set_weights(taken)
    new = [label for label in labels if label not in known]
    anew = f"; the last layer begins anew for {', '.join(new)}" if new else ""
    _log.info("training starts from the weights of the served model%s", anew)
    return True


def _shared(labels: Sequence[str], known: Sequence[str]) -> list[tuple[int, int]] | None:
    """Returns the ids here and there of the classes that both know; None: they are the same."""
    if list(labels) == list(known):
        return None
    return [(labels.index(name), known.index(name)) for name in labels if name in known]


def _taken(
    model: keras.Model,
    theirs: list[np.ndarray],
    shared: list[tuple[int, int]] | None,
    known: int,
) -> list[np.ndarray] | None:
    """Returns what the weights of `model` become; None: the architectures differ."""
    head = {id(weight) for weight in model.layers[-1].weights}
    if len(theirs) != len(model.weights) or (shared is not None and not head):
        return None
    taken = []
    for variable, own, other in zip(model.weights, model.get_weights(), theirs, strict=True):
        expected = own.shape
        if shared is not None and id(variable) in head:
            expected = (*own.shape[:-1], known)
            for here, there in shared if other.shape == expected else ():
                own[..., here] = other[..., there]
        else:
            own = other
        if other.shape != expected:
            return None
        taken.append(own)
    return taken
