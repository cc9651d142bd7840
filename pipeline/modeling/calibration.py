"""Temperature scaling, https://arxiv.org/abs/1706.04599: makes 0.8 right in 80 of 100 cases."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

_LOWEST, _HIGHEST = 0.05, 20.0


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Returns the number that logits are to be divided by for the likeliest labels.

    Args:
        logits: float [N, classes], of images that the model was not fitted to.
        labels: int [N].
    """
    logits = np.asarray(logits, np.float64)

    def cross_entropy(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(np.mean(scaled[np.arange(len(labels)), labels]))

    bounds = (np.log(_LOWEST), np.log(_HIGHEST))
    return float(np.exp(minimize_scalar(cross_entropy, bounds=bounds, method="bounded").x))
