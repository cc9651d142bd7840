"""A network with another normalisation layer in place of the fused one."""

import keras
from keras import layers

from pipeline.modeling.normalization import FusedBatchNormalization


def with_normalization(model: keras.Model, layer: type[layers.Layer]) -> keras.Model:
    """Returns an untrained copy of `model` whose normalisations are of the type `layer`."""

    def replaced(original: layers.Layer) -> layers.Layer:
        is_normalization = isinstance(original, FusedBatchNormalization)
        return (layer if is_normalization else type(original)).from_config(original.get_config())

    return keras.models.clone_model(model, clone_function=replaced)
