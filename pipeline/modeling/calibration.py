"""Makes 0.8 right in 80 of 100 cases: what logits are worth as probabilities.

Temperature scaling, https://arxiv.org/abs/1706.04599, and the share of label smoothing taken off.
"""

import numpy as np
import tensorflow as tf
from scipy.optimize import minimize_scalar

_LOWEST, _HIGHEST = 0.05, 20.0

# How steeply a class fades out below its share of the smoothing. Chosen on validation images.
_SHARPNESS = 7.0


def class_probabilities(
    logits: tf.Tensor, temperature: tf.Tensor | float, label_smoothing: float
) -> tf.Tensor:
    """Returns probabilities, in the shape and dtype of `logits` and in their order.

    A network trained with label smoothing says (1 - smoothing) * p + smoothing / classes for p,
    https://arxiv.org/abs/1512.00567, section 7. The share that every class got is subtracted here,
    by a softplus: classes below it keep their order.

    Args:
        logits: float [N, classes].
        temperature: what they are divided by.
        label_smoothing: with which the network was trained.
    """
    probabilities = tf.nn.softmax(logits / temperature)
    if not label_smoothing:
        return probabilities
    share = label_smoothing / logits.shape[-1]
    beyond = tf.math.softplus(_SHARPNESS * (probabilities / share - 1))
    return beyond / tf.reduce_sum(beyond, axis=-1, keepdims=True)


def fit_temperature(logits: np.ndarray, labels: np.ndarray, label_smoothing: float = 0.0) -> float:
    """Returns the temperature with which the labels are the likeliest.

    Args:
        logits: float [N, classes], of images that the model was not fitted to.
        labels: int [N].
        label_smoothing: with which the network was trained.
    """
    exact = tf.constant(logits, tf.float64)

    def cross_entropy(log_temperature: float) -> float:
        probabilities = class_probabilities(exact, np.exp(log_temperature), label_smoothing)
        of_labels = probabilities.numpy()[np.arange(len(labels)), labels]
        return -float(np.mean(np.log(np.maximum(of_labels, np.finfo(np.float64).tiny))))

    bounds = (np.log(_LOWEST), np.log(_HIGHEST))
    return float(np.exp(minimize_scalar(cross_entropy, bounds=bounds, method="bounded").x))
