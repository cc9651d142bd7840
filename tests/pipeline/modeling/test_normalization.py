"""The fused layer computes what Keras' own does."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from pipeline.modeling.normalization import FusedBatchNormalization


@pytest.fixture
def images() -> np.ndarray:
    generator = np.random.default_rng(0)
    return (3 * generator.standard_normal((2, 3, 5, 4)) + 7).astype(np.float32)


def pair() -> tuple[layers.BatchNormalization, FusedBatchNormalization]:
    generator = np.random.default_rng(1)
    both = layers.BatchNormalization(momentum=0.9), FusedBatchNormalization(momentum=0.9)
    weights = [generator.uniform(0.5, 2.0, 4).astype(np.float32) for _ in range(4)]
    for layer in both:
        layer.build((None, 3, 5, 4))
        layer.set_weights(weights)
    return both


def test_at_inference_it_is_keras_own_layer(images: np.ndarray) -> None:
    stock, fused = pair()
    np.testing.assert_allclose(fused(images), stock(images), rtol=1e-5, atol=1e-5)


def test_in_training_images_gradients_and_moving_statistics_are_those_of_keras_own_layer(
    images: np.ndarray,
) -> None:
    answers = []
    for layer in pair():
        x = tf.constant(images)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum(y**3)
        answers.append([y, *tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])])
        answers[-1] += layer.get_weights()
    for stock, fused in zip(*answers, strict=True):
        np.testing.assert_allclose(fused, stock, rtol=1e-3, atol=1e-3)


def test_one_value_a_channel_leaves_finite_statistics() -> None:
    layer = FusedBatchNormalization()
    layer(np.ones((1, 1, 1, 3), np.float32), training=True)
    assert np.isfinite(layer.get_weights()).all()


def test_a_frozen_layer_learns_nothing(images: np.ndarray) -> None:
    _, fused = pair()
    before = fused.get_weights()
    fused.trainable = False
    fused(images, training=True)
    np.testing.assert_array_equal(fused.get_weights(), before)


def test_bfloat16_images_stay_bfloat16_and_statistics_float32(images: np.ndarray) -> None:
    layer = FusedBatchNormalization(dtype="mixed_bfloat16")
    assert layer(tf.cast(images, tf.bfloat16), training=True).dtype == tf.bfloat16
    assert {weight.dtype for weight in layer.weights} == {"float32"}


def test_a_model_with_it_is_saved_and_read_again(images: np.ndarray, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3, 5, 4)), FusedBatchNormalization()])
    model.save(tmp_path / "model.keras")
    read = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(read(images), model(images))
