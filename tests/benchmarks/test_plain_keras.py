"""The script that the pipeline is measured against trains the same network in the same way."""

from pathlib import Path

import keras
import numpy as np
import pytest

from benchmarks import plain_keras
from data import splits
from pipeline.modeling.features import ImageFormat
from pipeline.modeling.trainer import _compile, _new_model
from pipeline.settings.hyperparameters import Hyperparameters
from pipeline.settings.load import load_config
from pipeline.settings.paths import SAMPLE_DATA

STEPS, CLASSES = 20, 10


@pytest.fixture(params=["smoke", "default", "best"])
def hyperparameters(request: pytest.FixtureRequest, tmp_path: Path) -> Hyperparameters:
    return load_config(request.param, workdir=tmp_path).training


def test_the_network_its_optimizer_and_its_loss_are_trainers(
    hyperparameters: Hyperparameters,
) -> None:
    policy = keras.config.dtype_policy()
    try:
        plain = plain_keras.compiled_model(hyperparameters, STEPS, CLASSES)
    finally:
        keras.config.set_dtype_policy(policy)
    trainers = _new_model(hyperparameters, CLASSES, ImageFormat().shape)
    _compile(trainers, hyperparameters, STEPS)
    for of_plain, of_trainer in zip(plain.layers, trainers.layers, strict=True):
        assert type(of_plain) is type(of_trainer)
        assert of_plain.dtype_policy.name == of_trainer.dtype_policy.name
        assert [w.shape for w in of_plain.weights] == [w.shape for w in of_trainer.weights]
    assert without_name(plain.optimizer) == without_name(trainers.optimizer)
    assert plain.loss.get_config() == trainers.loss.get_config()


def without_name(optimizer: keras.optimizers.Optimizer) -> dict[str, object]:
    return {key: value for key, value in optimizer.get_config().items() if key != "name"}


def test_the_images_are_split_as_the_pipeline_splits_them() -> None:
    train, validation, test = plain_keras.load(SAMPLE_DATA / "base")
    assert len(train[1]) + len(validation[1]) == 1_000
    assert len(test[1]) == 200
    assert 0 < len(validation[1]) < len(train[1]) / 5
    raw = (validation[0][..., 0] * 255).round().astype(np.uint8)
    assert set(splits.digests(np.ascontiguousarray(raw)) % 10) == {0}
