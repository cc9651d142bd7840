"""A network of Keras Applications with a head of its own, first frozen, then fine-tuned."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from keras import layers, ops

from pipeline.settings.hyperparameters import Hyperparameters

# A layer of this name, in any network, is what is frozen first.
BACKBONE = "backbone"


class WeightsError(Exception):
    """A file of weights is not one of the backbone; the message is for the user."""


@keras.saving.register_keras_serializable(package="pipeline.modeling")
class BackbonePreprocessing(layers.Layer):
    """Scales images as a backbone was trained to see them; grey ones become three channels.

    Takes float32 [N, size, size, 1 or 3], 0 to 1; returns float32 [N, size, size, 3].
    """

    def __init__(self, backbone: str, **options: Any) -> None:
        # In bfloat16, neighbouring pixel values would become one.
        super().__init__(**{"dtype": "float32", **options})
        self._backbone = backbone
        module = getattr(keras.applications, backbone).__module__
        self._preprocess = sys.modules[module].preprocess_input

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        colours = ops.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images
        return self._preprocess(colours * 255.0)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return *input_shape[:-1], 3

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "backbone": self._backbone}


def build_on_backbone(
    hyperparameters: Hyperparameters, class_count: int, image_shape: tuple[int, int, int]
) -> keras.Model:
    """Builds the network with random weights, which `load_backbone` replaces.

    Normalisation keeps to the statistics that came with the weights, in fine-tuning too: batches
    of other pictures would destroy what was learned with them.

    Returns:
        A model from float32 [N, *image_shape] (0 to 1) to float32 logits [N, class_count].
    """
    assert hyperparameters.backbone
    application = getattr(keras.applications, hyperparameters.backbone)
    backbone = application(include_top=False, weights=None, input_shape=(*image_shape[:2], 3))
    backbone.name = BACKBONE
    inputs = keras.Input(image_shape, dtype="float32")
    x = BackbonePreprocessing(hyperparameters.backbone)(inputs)
    x = backbone(x, training=False)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(hyperparameters.dropout)(x)
    logits = layers.Dense(class_count, dtype="float32")(x)
    return keras.Model(inputs, logits, name="on_backbone")


def load_backbone(model: keras.Model, file: Path) -> None:
    """Gives the backbone of `model` the weights in a file.

    Raises:
        WeightsError: they are another network's.
    """
    backbone = _backbone(model)
    if backbone is None:
        raise WeightsError(f"training.weights: the network has no layer named {BACKBONE}")
    try:
        backbone.load_weights(file)
    except Exception as error:  # Keras raises whatever the difference leads to
        reason = str(error).partition("\n")[0]
        raise WeightsError(
            f"training.weights: {file.name} does not fit the backbone, whose weights without its "
            f"top are wanted: {reason}"
        ) from None


@dataclass(frozen=True)
class Phase:
    """Epochs that share one optimizer and one schedule, `begin` included and `end` not."""

    begin: int
    end: int
    learning_rate: float
    frozen: bool

    def of(self, hyperparameters: Hyperparameters) -> Hyperparameters:
        """Returns the hyperparameters of a training of this phase alone."""
        own = {"epochs": self.end - self.begin, "learning_rate": self.learning_rate}
        return hyperparameters.model_copy(update=own)


def phases(hyperparameters: Hyperparameters, model: keras.Model) -> list[Phase]:
    """Returns the phases of a training: one, or with a backbone that is frozen first, two."""
    epochs, rate = hyperparameters.epochs, hyperparameters.learning_rate
    frozen = min(hyperparameters.frozen_epochs, epochs) if _backbone(model) else 0
    first = [Phase(0, frozen, rate, frozen=True)] if frozen else []
    if frozen == epochs:
        return first
    return [
        *first,
        Phase(frozen, epochs, hyperparameters.fine_tuning_rate if frozen else rate, frozen=False),
    ]


def freeze(model: keras.Model, frozen: bool) -> None:
    """Has the backbone of `model`, if it has one, learn or not; to be compiled afterwards."""
    backbone = _backbone(model)
    if backbone is not None:
        backbone.trainable = not frozen


def _backbone(model: keras.Model) -> keras.Layer | None:
    return next((layer for layer in model.layers if layer.name == BACKBONE), None)
