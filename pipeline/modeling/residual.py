"""A residual network, https://arxiv.org/abs/1512.03385, for images of 32 to 96 pixels."""

import keras
from keras import layers

from pipeline.modeling.normalization import FusedBatchNormalization
from pipeline.settings.hyperparameters import Hyperparameters


def build_residual(
    hyperparameters: Hyperparameters, class_count: int, image_shape: tuple[int, int, int]
) -> keras.Model:
    """Builds the network, untrained: a stem, then stages of blocks of two convolutions.

    The stem halves the image, as does every stage but the first. A shortcut that has to change its
    shape is pooled first, so that no pixel goes unseen (https://arxiv.org/abs/1812.01187).

    Returns:
        A model from float32 [N, *image_shape] (0 to 1) to float32 logits [N, class_count].
    """
    inputs = keras.Input(image_shape, dtype="float32")
    x = layers.ReLU()(_convolution(inputs, hyperparameters.filters[0], stride=2))
    blocks = max(1, hyperparameters.convolutions // 2)
    for stage, channels in enumerate(hyperparameters.filters):
        for block in range(blocks):
            x = _block(x, channels, stride=2 if stage and not block else 1)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(hyperparameters.dropout)(x)
    logits = layers.Dense(class_count, dtype="float32")(x)
    return keras.Model(inputs, logits, name="residual")


def _block(x: keras.KerasTensor, channels: int, stride: int) -> keras.KerasTensor:
    shortcut = x
    if stride > 1:
        shortcut = layers.AveragePooling2D(stride, padding="same")(shortcut)
    if shortcut.shape[-1] != channels:
        shortcut = _convolution(shortcut, channels, size=1)
    x = layers.ReLU()(_convolution(x, channels, stride=stride))
    # A block begins as its shortcut alone.
    x = _convolution(x, channels, gamma="zeros")
    return layers.ReLU()(layers.Add()([x, shortcut]))


def _convolution(
    x: keras.KerasTensor, channels: int, *, size: int = 3, stride: int = 1, gamma: str = "ones"
) -> keras.KerasTensor:
    x = layers.Conv2D(channels, size, stride, padding="same", use_bias=False)(x)
    return FusedBatchNormalization(momentum=0.9, gamma_initializer=gamma)(x)
