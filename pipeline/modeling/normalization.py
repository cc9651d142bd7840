"""Batch normalisation as one operation."""

import keras
import tensorflow as tf
from keras import layers


@keras.saving.register_keras_serializable(package="pipeline.modeling")
class FusedBatchNormalization(layers.BatchNormalization):
    """Normalises the last axis of images with TensorFlow's FusedBatchNormV3.

    The same weights and, in float32, the same numbers as `keras.layers.BatchNormalization`, which
    computes them by a dozen operations and, under mixed precision, casts every image to float32
    and back. Here images stay what they are; the statistics are float32 in any case.

    Takes and returns [N, height, width, channels] in the layer's compute dtype.
    """

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        learns = bool(training and self.trainable)
        nothing = tf.zeros([0])
        normalised, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma,
            offset=self.beta,
            mean=nothing if learns else self.moving_mean,
            variance=nothing if learns else self.moving_variance,
            epsilon=self.epsilon,
            is_training=learns,
        )
        if learns:
            self._remember(mean, self.moving_mean)
            # The operation estimates the variance of all images, Keras takes that of the batch.
            values = tf.cast(tf.size(inputs) / tf.size(mean), tf.float32)
            self._remember(variance * ((values - 1.0) / values), self.moving_variance)
        return normalised

    def _remember(self, statistic: tf.Tensor, moving: keras.Variable) -> None:
        moving.assign(moving * self.momentum + statistic * (1.0 - self.momentum))
