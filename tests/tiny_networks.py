"""Networks as a user has them: `training.network` names these functions."""

import keras
from keras import layers

from pipeline.settings.hyperparameters import Hyperparameters

Shape = tuple[int, int, int]


def on_a_backbone(
    hyperparameters: Hyperparameters, class_count: int, image_shape: Shape
) -> keras.Model:
    """One of a user's own with a layer `backbone`, which is frozen first."""
    seen = keras.Input(image_shape)
    x = layers.Conv2D(4, 3, strides=2, use_bias=False)(seen)
    backbone = keras.Model(seen, layers.ReLU()(layers.BatchNormalization()(x)), name="backbone")
    inputs = keras.Input(image_shape)
    x = layers.GlobalAveragePooling2D()(backbone(inputs, training=False))
    x = layers.Dense(6, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(class_count, dtype="float32")(x))


def that_draws(
    hyperparameters: Hyperparameters, class_count: int, image_shape: Shape
) -> keras.Model:
    """One with several layers that draw numbers, some of them in a network inside it."""
    seen = keras.Input(image_shape)
    x = layers.GaussianNoise(0.1)(layers.RandomFlip("horizontal")(seen))
    inner = keras.Model(seen, layers.SpatialDropout2D(0.2)(layers.Conv2D(4, 3, strides=2)(x)))
    inputs = keras.Input(image_shape)
    x = layers.Dropout(hyperparameters.dropout)(layers.Flatten()(inner(inputs)))
    return keras.Model(inputs, layers.Dense(class_count, dtype="float32")(x))


def of_other_classes(
    hyperparameters: Hyperparameters, class_count: int, image_shape: Shape
) -> keras.Model:
    """One that disregards the classes of the settings."""
    return on_a_backbone(hyperparameters, class_count + 1, image_shape)


def nothing(hyperparameters: Hyperparameters, class_count: int, image_shape: Shape) -> None:
    """One without its `return`."""
