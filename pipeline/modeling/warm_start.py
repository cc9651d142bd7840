"""Begins a training with the weights of an exported model."""

import logging
import re
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

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


def take_weights(model: keras.Model, saved_model: Path) -> bool:
    """Gives `model` the weights of an exported one, if they are of the same architecture.

    If not, the model stays as it is and a warning says so: a changed architecture is not a mistake,
    and an unattended run that stopped for it would need somebody to turn warm start off and on.

    Args:
        model: is changed in place.
        saved_model: the directory of the exported model.

    Returns:
        Whether the weights were taken.
    """
    weights = exported_weights(saved_model)
    own, other = ([tuple(weight.shape) for weight in of] for of in (model.weights, weights))
    if own != other:
        _log.warning(
            "the served model has another architecture (%d weights, this one %d): "
            "training from scratch",
            sum(map(np.size, weights)),
            model.count_params(),
        )
        return False
    model.set_weights(weights)
    _log.info("training starts from the weights of the served model")
    return True
