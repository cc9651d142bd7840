"""The classifier: a small convolutional network that CPU cores train in minutes."""

import keras
from keras import layers

from pipeline.modeling.features import CLASS_COUNT, ImageFormat
from pipeline.modeling.normalization import FusedBatchNormalization
from pipeline.settings.hyperparameters import Hyperparameters


def build_model(
    hyperparameters: Hyperparameters,
    class_count: int = CLASS_COUNT,
    image_shape: tuple[int, int, int] = ImageFormat().shape,
) -> keras.Model:
    """Builds the network, untrained, under Keras' current dtype policy.

    Each stage but the last halves the image, and does so before the normalisation, which then has
    a quarter of the values to go through.

    Returns:
        A model from float32 [N, *image_shape] (0 to 1) to float32 logits [N, class_count].
    """
    inputs = keras.Input(image_shape, dtype="float32")
    x = inputs
    stages = len(hyperparameters.filters)
    for stage, channels in enumerate(hyperparameters.filters):
        for convolution in range(hyperparameters.convolutions):
            x = _convolution(x, channels, pool=convolution == 0 and stage < stages - 1)
    if hyperparameters.dense_units:
        x = layers.Flatten()(x)
        x = layers.Dense(hyperparameters.dense_units, activation="relu")(x)
    else:
        x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(hyperparameters.dropout)(x)
    logits = layers.Dense(class_count, dtype="float32")(x)
    return keras.Model(inputs, logits, name="fashion_mnist")


def _convolution(x: keras.KerasTensor, channels: int, *, pool: bool) -> keras.KerasTensor:
    x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
    if pool:
        x = layers.MaxPooling2D()(x)
    x = FusedBatchNormalization(momentum=0.9)(x)
    return layers.ReLU()(x)
