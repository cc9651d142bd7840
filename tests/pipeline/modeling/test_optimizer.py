"""Muon moves the kernels of convolutions by orthogonal steps, and AdamW everything else."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from pipeline.modeling.network import build_model
from pipeline.modeling.optimizer import ConvolutionMuon, build_optimizer
from pipeline.settings.hyperparameters import Hyperparameters, Optimizer

TINY = Hyperparameters(filters=(8, 16), convolutions=2, dense_units=0, epochs=2)


def test_a_step_of_a_convolution_is_orthogonal_whatever_the_gradient() -> None:
    optimizer = ConvolutionMuon(1.0)
    gradient = tf.random.stateless_normal([3, 3, 8, 16], [1, 2]) * 1000.0
    step = optimizer.zeropower_via_newtonschulz5(gradient, 5)
    assert step.shape == gradient.shape
    singular = np.linalg.svd(tf.reshape(step, [72, 16]), compute_uv=False)
    # Five steps of Newton and Schulz bring singular values near one, not to it.
    assert singular.min() > 0.5
    assert singular.max() < 1.4


def test_a_step_is_as_long_as_one_of_adamw() -> None:
    optimizer = ConvolutionMuon(1.0)
    step = optimizer.zeropower_via_newtonschulz5(
        tf.random.stateless_normal([3, 3, 64, 64], [1, 2]), 5
    )
    typical = float(tf.sqrt(tf.reduce_mean(optimizer.lr_adjust(step) ** 2)))
    assert 0.1 < typical < 0.3


def test_only_convolutions_that_see_more_than_colours_are_moved_by_muon() -> None:
    model = build_model(TINY)
    by_muon = [
        weight.shape
        for weight in model.trainable_weights
        if not ConvolutionMuon()._should_use_adamw(weight)
    ]
    assert by_muon == [(3, 3, 8, 8), (3, 3, 8, 16), (3, 3, 16, 16)]


def test_a_model_with_it_is_saved_and_goes_on_from_where_it_was(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((32, 28, 28, 1), np.float32)
    labels = np.arange(32) % 10

    def fit(model: keras.Model) -> None:
        model.fit(images, labels, batch_size=16, shuffle=False, verbose=0)

    model = build_model(TINY)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    settings = TINY.model_copy(update={"optimizer": Optimizer.MUON})
    model.compile(build_optimizer(settings, 2), loss, jit_compile=False)
    fit(model)
    model.save(tmp_path / "model.keras")
    read = keras.models.load_model(tmp_path / "model.keras")
    fit(model)
    fit(read)
    for weight, again in zip(model.get_weights(), read.get_weights(), strict=True):
        np.testing.assert_allclose(again, weight, rtol=1e-4, atol=1e-5)


def test_the_rate_rises_to_its_peak_and_ends_at_nothing() -> None:
    for kind in Optimizer:
        settings = Hyperparameters(epochs=10, warmup_fraction=0.1, optimizer=kind)
        rate = build_optimizer(settings, 10)._learning_rate
        assert [round(float(rate(step)), 6) for step in (0, 10, 100)] == [
            0.0,
            settings.learning_rate,
            0.0,
        ]
