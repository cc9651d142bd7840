"""How the weights follow their gradients."""

import math

import keras
import tensorflow as tf
from keras import optimizers

from pipeline.settings.hyperparameters import Hyperparameters, Optimizer

# A kernel whose input is an image's own colours has too few rows to be orthogonal.
_COLOURS = 4


@keras.saving.register_keras_serializable(package="pipeline.modeling")
class ConvolutionMuon(optimizers.Muon):
    """Muon, https://kellerjordan.github.io/posts/muon/, for convolutions; AdamW for other weights.

    Keras' Muon is for matrices alone and leaves the kernels of convolutions, which are nearly all
    of this network's work, to AdamW. Here a kernel is the matrix of its inputs by its outputs.
    """

    def _should_use_adamw(self, variable: keras.Variable) -> bool:
        return len(variable.shape) != 4 or variable.shape[2] <= _COLOURS

    def zeropower_via_newtonschulz5(self, x: tf.Tensor, steps: int) -> tf.Tensor:
        matrix = tf.reshape(x, [-1, x.shape[-1]])
        return tf.reshape(super().zeropower_via_newtonschulz5(matrix, steps), x.shape)

    def lr_adjust(self, x: tf.Tensor) -> tf.Tensor:
        larger = max(math.prod(x.shape[:-1]), x.shape[-1])
        return x * math.sqrt(larger) * self.rms_rate


def build_optimizer(hyperparameters: Hyperparameters, steps_per_epoch: int) -> optimizers.Optimizer:
    """Returns the optimizer with its one-cycle schedule: a linear rise, then half a cosine."""
    total_steps = hyperparameters.epochs * steps_per_epoch
    warmup_steps = max(1, int(hyperparameters.warmup_fraction * total_steps))
    schedule = optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(1, total_steps - warmup_steps),
        warmup_target=hyperparameters.learning_rate,
        warmup_steps=warmup_steps,
    )
    decay = hyperparameters.weight_decay
    # At its end, `fit` puts the average in place of the last weights.
    average = {
        "use_ema": hyperparameters.ema_momentum > 0,
        "ema_momentum": hyperparameters.ema_momentum,
    }
    if hyperparameters.optimizer is Optimizer.MUON:
        return ConvolutionMuon(schedule, weight_decay=decay, adam_weight_decay=decay, **average)
    return optimizers.AdamW(schedule, weight_decay=decay, **average)
