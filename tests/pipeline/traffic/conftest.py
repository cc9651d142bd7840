"""A served model that is not trained: it labels by the mean of the picture."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from data import idx
from pipeline.modeling.features import CLASS_LABELS
from pipeline.modeling.preprocessing import decode_images
from pipeline.settings.paths import SAMPLE_DATA


class _ByMean(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def predict_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        mean = tf.reduce_mean(decode_images(image_bytes), axis=[1, 2, 3])
        best = tf.cast(mean / 25.6, tf.int32)
        probabilities = tf.one_hot(best, 10, 0.5, 0.5 / 9)
        return {
            "probabilities": probabilities,
            "label": tf.gather(tf.constant(CLASS_LABELS), best),
        }


@pytest.fixture(scope="session")
def by_mean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SavedModel."""
    folder = tmp_path_factory.mktemp("by_mean")
    module = _ByMean()
    signatures = {"predict_bytes": module.predict_bytes}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


@pytest.fixture(scope="session")
def clothes() -> np.ndarray:
    """Pieces of clothing, uint8 [1000, 28, 28]."""
    return idx.read_images(SAMPLE_DATA / "base" / "train-images-idx3-ubyte.gz")
