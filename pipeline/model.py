"""The classifier: a small convolutional network that two CPU cores train in minutes."""

from collections.abc import Sequence

import keras
from keras import layers

from pipeline.features import CLASS_COUNT, IMAGE_SIZE


def build_model(filters: Sequence[int], dense_units: int, dropout: float) -> keras.Model:
    """Builds the network, untrained, under Keras' current dtype policy.

    Args:
        filters: channels of each convolution; all but the last are followed by pooling.
        dense_units: width of the hidden dense layer.
        dropout: share of its activations dropped while training.

    Returns:
        A model from float32 [N, 28, 28, 1] (0 to 1) to float32 logits [N, 10].
    """
    inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 1), dtype="float32")
    x = inputs
    for index, channels in enumerate(filters):
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.ReLU()(x)
        if index < len(filters) - 1:
            x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    x = layers.Dense(dense_units, activation="relu")(x)
    x = layers.Dropout(dropout)(x)
    logits = layers.Dense(CLASS_COUNT, dtype="float32")(x)
    return keras.Model(inputs, logits, name="fashion_mnist")
