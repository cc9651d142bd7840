"""run_fn: trains the model on transformed images and exports it for serving."""

import hashlib
import json
import logging
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import tensorflow_transform as tft
from pydantic import BaseModel
from tfx.components.trainer.fn_args_utils import FnArgs

from pipeline.best_hyperparameters import decode, with_tuned
from pipeline.modeling.checkpoints import EpochCheckpoint
from pipeline.modeling.dataset import (
    LabelledImages,
    image_batches,
    load_split,
    training_batches,
    validation_batches,
)
from pipeline.modeling.determinism import limit_threads, make_deterministic
from pipeline.modeling.features import CLASS_COUNT, CLASS_LABELS, IMAGE, ImageFormat
from pipeline.modeling.image_store import make_store
from pipeline.modeling.network import build_model
from pipeline.modeling.optimizer import build_optimizer
from pipeline.modeling.precision import training_policy
from pipeline.modeling.signatures import DefaultSignature, ServingModule, export
from pipeline.modeling.warm_start import take_weights
from pipeline.settings.hyperparameters import Hyperparameters, Precision

_log = logging.getLogger(__name__)


class TrainingDivergedError(Exception):
    """The loss is infinite or NaN; the message says since when."""


class TrainerConfig(BaseModel):
    """What the pipeline hands to `run_fn` as Trainer's `custom_config`."""

    hyperparameters: Hyperparameters
    checkpoints: Path
    fingerprint: str
    default_signature: DefaultSignature = DefaultSignature.CLASSIFY
    image_feature: str = IMAGE
    labels: tuple[str, ...] = CLASS_LABELS
    span_weight: int = 1


def run_fn(fn_args: FnArgs) -> None:
    """Trains on the examples of `fn_args` and exports a SavedModel; called by Trainer."""
    config = TrainerConfig.model_validate(fn_args.custom_config)
    limit_threads(config.hyperparameters.threads)
    if fn_args.hyperparameters:
        tuned = with_tuned(config.hyperparameters, decode(fn_args.hyperparameters["values"]))
        config = config.model_copy(update={"hyperparameters": tuned})
    transform_output = tft.TFTransformOutput(fn_args.transform_graph_path)
    stream, run_dir = config.hyperparameters.stream, Path(fn_args.model_run_dir)
    train = load_split(
        fn_args.train_files, transform_output, config.span_weight, make_store(stream, run_dir)
    )
    validation = load_split(fn_args.eval_files, transform_output, store=make_store(stream, run_dir))
    checkpoint = EpochCheckpoint(config.checkpoints / _training_key(config, fn_args))

    model = train_model(
        train,
        validation,
        config.hyperparameters,
        checkpoint,
        run_dir,
        len(config.labels),
        Path(fn_args.base_model) if fn_args.base_model else None,
    )
    module = ServingModule(
        _as_float32(model, config.hyperparameters),
        transform_output,
        config.image_feature,
        config.labels,
        test_time_flip=config.hyperparameters.test_time_flip,
    )
    temperature = module.calibrate(image_batches(validation), validation.labels)
    _log.info("calibrated with temperature %.2f", temperature)
    export(module, Path(fn_args.serving_model_dir), config.default_signature)
    checkpoint.remove()


def train_model(
    train: LabelledImages,
    validation: LabelledImages,
    hyperparameters: Hyperparameters,
    checkpoint: EpochCheckpoint,
    run_dir: Path,
    class_count: int = CLASS_COUNT,
    base_model: Path | None = None,
) -> keras.Model:
    """Trains from the start, or from the last checkpoint of the same training.

    Args:
        train: the images to fit.
        validation: the images to report on after each epoch.
        hyperparameters: everything that training may vary.
        checkpoint: the checkpoints of exactly this training.
        run_dir: gets `history.csv`, with the epochs before a resumption, and TensorBoard's logs.
        class_count: labels are 0 to `class_count` - 1.
        base_model: a SavedModel of an earlier training, whose weights this one starts with.

    Raises:
        TrainingDivergedError: the loss is no longer a number.
    """
    if len(train) < hyperparameters.batch_size:
        _log.warning(
            "training.batch_size is %d, but there are only %d training images: one batch is all",
            hyperparameters.batch_size,
            len(train),
        )
        hyperparameters = hyperparameters.model_copy(update={"batch_size": len(train)})
    make_deterministic(hyperparameters.seed)
    steps = len(train.rows()) // hyperparameters.batch_size
    epochs_done, model = checkpoint.restore()
    if model is None:
        model = _compiled_model(hyperparameters, steps, class_count, train.images.shape[1:])
        if base_model:
            take_weights(model, base_model)
    else:
        _log.info("training resumes after epoch %d of %d", epochs_done, hyperparameters.epochs)
    model.fit(
        training_batches(train, hyperparameters, class_count, first_epoch=epochs_done),
        validation_data=validation_batches(validation, class_count),
        initial_epoch=epochs_done,
        epochs=hyperparameters.epochs,
        steps_per_epoch=steps,
        verbose=0,
        callbacks=[
            _StopWhenDiverged(),
            keras.callbacks.CSVLogger(checkpoint.history, append=True),
            keras.callbacks.TensorBoard(run_dir / "tensorboard"),
            _EpochLog(hyperparameters.epochs),
            checkpoint,
        ],
    )
    shutil.copy(checkpoint.history, run_dir / "history.csv")
    return model


def _compiled_model(
    hyperparameters: Hyperparameters,
    steps_per_epoch: int,
    class_count: int,
    image_shape: tuple[int, int, int] = ImageFormat().shape,
) -> keras.Model:
    with _dtype_policy(training_policy(hyperparameters.precision)):
        model = build_model(hyperparameters, class_count, image_shape)
    model.compile(
        optimizer=build_optimizer(hyperparameters, steps_per_epoch),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=hyperparameters.label_smoothing
        ),
        metrics=["accuracy"],
        jit_compile=False,
    )
    return model


def _as_float32(trained: keras.Model, hyperparameters: Hyperparameters) -> keras.Model:
    with _dtype_policy(Precision.FLOAT32):
        model = build_model(hyperparameters, trained.output_shape[-1], trained.input_shape[1:])
    model.set_weights(trained.get_weights())
    return model


def _training_key(config: TrainerConfig, fn_args: FnArgs) -> str:
    """Names the one training that code, hyperparameters and data make, across executions."""
    made_of = [
        config.fingerprint,
        config.hyperparameters.model_dump(mode="json"),
        fn_args.transform_graph_path,
        fn_args.base_model,
        *fn_args.train_files,
    ]
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def _dtype_policy(policy: Precision) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy.value)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class _StopWhenDiverged(keras.callbacks.Callback):
    """Ends a training whose loss is no longer a number; no later step can repair it."""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if not math.isfinite((logs or {})["loss"]):
            raise TrainingDivergedError(
                f"the training diverged in step {batch + 1} of epoch {self._epoch}: its loss is no "
                "longer a number; a lower training.learning_rate may help"
            )


class _EpochLog(keras.callbacks.Callback):
    """Logs one line per epoch."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._epochs = epochs

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = logs or {}
        _log.info(
            "epoch %d/%d: loss %.4f, accuracy %.4f, validation accuracy %.4f (%.1f s)",
            epoch + 1,
            self._epochs,
            logs["loss"],
            logs["accuracy"],
            logs["val_accuracy"],
            time.monotonic() - self._started,
        )
