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
            # The operation estimates the variance of all images, Keras takes that of the batch.
            values = tf.cast(tf.size(inputs) / tf.size(mean), tf.float32)
            statistics = _over_replicas([mean, variance * ((values - 1.0) / values)])
            for statistic, moving in zip(
                statistics, (self.moving_mean, self.moving_variance), strict=True
            ):
                moving.assign(moving * self.momentum + statistic * (1.0 - self.momentum))
        return normalised


def _over_replicas(statistics: list[tf.Tensor]) -> list[tf.Tensor]:
    """Returns their means over the devices that share a batch, so that all remember the same."""
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return statistics
    return replica.all_reduce(tf.distribute.ReduceOp.MEAN, statistics)
