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


def whose_output_is_a_dict(
    hyperparameters: Hyperparameters, class_count: int, image_shape: Shape
) -> keras.Model:
    """One that gives its logits a name."""
    model = on_a_backbone(hyperparameters, class_count, image_shape)
    return keras.Model(model.input, {"logits": model.output})


def whose_output_is_a_list(
    hyperparameters: Hyperparameters, class_count: int, image_shape: Shape
) -> keras.Model:
    """One that gives a list of one."""
    model = on_a_backbone(hyperparameters, class_count, image_shape)
    return keras.Model(model.input, [model.output])


def without_an_input(
    hyperparameters: Hyperparameters, class_count: int, image_shape: Shape
) -> keras.Model:
    """One that is not built before it is called."""
    return keras.Sequential([layers.Flatten(), layers.Dense(class_count)])


def in_a_row(hyperparameters: Hyperparameters, class_count: int, image_shape: Shape) -> keras.Model:
    """One of layers in a row, which begins with its input."""
    dense = layers.Dense(class_count, dtype="float32")
    return keras.Sequential([keras.Input(image_shape), layers.Flatten(), dense])


class Subclass(keras.Model):
    """One in the style of other libraries."""

    def __init__(self, class_count: int) -> None:
        super().__init__()
        self.dense = layers.Dense(class_count)

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        return self.dense(keras.ops.reshape(images, (-1, 784)))


def subclassed(
    hyperparameters: Hyperparameters, class_count: int, image_shape: Shape
) -> keras.Model:
    """One that knows no shapes."""
    return Subclass(class_count)
