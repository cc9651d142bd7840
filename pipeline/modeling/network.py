"""The classifier: the network that the settings choose, a small convolutional one by default."""

import importlib
from collections.abc import Callable

import keras
from keras import layers

from pipeline.modeling.backbone import build_on_backbone
from pipeline.modeling.features import CLASS_COUNT, ImageFormat
from pipeline.modeling.normalization import FusedBatchNormalization
from pipeline.modeling.residual import build_residual
from pipeline.settings.hyperparameters import Hyperparameters, Network

Shape = tuple[int, int, int]
Build = Callable[[Hyperparameters, int, Shape], keras.Model]


class NetworkError(Exception):
    """A function of the user's does not build what it should; the message says what it builds."""


def build_model(
    hyperparameters: Hyperparameters,
    class_count: int = CLASS_COUNT,
    image_shape: tuple[int, int, int] = ImageFormat().shape,
) -> keras.Model:
    """Builds the network of the settings, untrained, under Keras' current dtype policy.

    Returns:
        A model from float32 [N, *image_shape] (0 to 1) to float32 logits [N, class_count].

    Raises:
        NetworkError: the user's own function gives another model.
    """
    own: dict[str, Build] = {
        Network.CNN: build_cnn,
        Network.RESIDUAL: build_residual,
        Network.BACKBONE: build_on_backbone,
    }
    if hyperparameters.network in own:
        return own[hyperparameters.network](hyperparameters, class_count, image_shape)
    return _build_custom(hyperparameters, class_count, image_shape)


def _build_custom(
    hyperparameters: Hyperparameters, class_count: int, image_shape: Shape
) -> keras.Model:
    name = hyperparameters.network
    module, _, function = name.partition(":")
    model = getattr(importlib.import_module(module), function)(
        hyperparameters, class_count, image_shape
    )
    if not isinstance(model, keras.Model):
        raise NetworkError(f"{name} returns {model!r}, which is no model of Keras")
    try:
        shapes = model.input_shape, model.output_shape
    except AttributeError:  # of a model that finds them out when it is first called
        raise NetworkError(
            f"{name} builds a model that does not know its shapes; begin it with "
            f"keras.Input({image_shape}), which a subclass cannot"
        ) from None
    if shapes != ((None, *image_shape), (None, class_count)):
        raise NetworkError(
            f"{name} builds a model from {shapes[0]} to {shapes[1]}; it is to be one from "
            f"{(None, *image_shape)} to {(None, class_count)}"
        )
    # A shape does not tell whether the output is one tensor.
    logits = model.compute_output_spec(keras.KerasTensor(shapes[0]))
    if not isinstance(logits, keras.KerasTensor):
        raise NetworkError(
            f"{name} builds a model whose output is a {type(logits).__name__}; it is to be one "
            "tensor, the logits"
        )
    return model


def build_cnn(
    hyperparameters: Hyperparameters, class_count: int, image_shape: Shape
) -> keras.Model:
    """Builds a small network that CPU cores train in minutes.

    Each stage but the last halves the image, and does so before the normalisation, which then has
    a quarter of the values to go through.
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
