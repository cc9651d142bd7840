"""run_fn: trains the model on transformed images and exports it for serving."""

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import keras
import tensorflow as tf
import tensorflow_transform as tft
from pydantic import BaseModel
from tfx.components.trainer.fn_args_utils import FnArgs

from pipeline.best_hyperparameters import decode, with_tuned
from pipeline.modeling.backbone import freeze, load_backbone, phases
from pipeline.modeling.callbacks import EpochLog, SeedEpochs, StopWhenDiverged
from pipeline.modeling.checkpoints import EpochCheckpoint
from pipeline.modeling.dataset import (
    LabelledImages,
    digest_of,
    image_batches,
    load_split,
    training_batches,
    validation_batches,
)
from pipeline.modeling.determinism import limit_threads, make_deterministic
from pipeline.modeling.distribution import (
    MultiWorkerModel,
    check_batch,
    is_chief,
    machine_count,
    over_machines,
    own_strategy,
    train_with_other_machines,
    uses_xla,
)
from pipeline.modeling.features import CLASS_LABELS, IMAGE
from pipeline.modeling.image_store import make_store
from pipeline.modeling.network import build_model
from pipeline.modeling.optimizer import build_optimizer
from pipeline.modeling.precision import training_policy
from pipeline.modeling.signatures import DefaultSignature, ServingModule, export
from pipeline.modeling.warm_start import take_weights
from pipeline.settings.hyperparameters import Hyperparameters, Precision

_log = logging.getLogger(__name__)

# What of Trainer's arguments `train_and_export` reads.
_ARGUMENTS = (
    *("train_files", "eval_files", "transform_graph_path", "base_model", "hyperparameters"),
    *("serving_model_dir", "model_run_dir", "custom_config"),
)


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
    if machine_count() > 1:
        train_with_other_machines({name: getattr(fn_args, name) for name in _ARGUMENTS})
    else:
        train_and_export(fn_args)


def train_and_export(fn_args: FnArgs, strategy: tf.distribute.Strategy | None = None) -> None:
    """Trains on the examples of `fn_args`; exports a SavedModel if this machine is the chief.

    Args:
        fn_args: what TFX tells Trainer.
        strategy: of several machines; None: this one is alone.
    """
    config = TrainerConfig.model_validate(fn_args.custom_config)
    limit_threads(config.hyperparameters.threads)
    if fn_args.hyperparameters:
        tuned = with_tuned(config.hyperparameters, decode(fn_args.hyperparameters["values"]))
        config = config.model_copy(update={"hyperparameters": tuned})
    checkpoints = config.checkpoints / _training_key(config, fn_args)
    with _own_folders(checkpoints, Path(fn_args.model_run_dir)) as (checkpoints, run_dir):
        transform_output = tft.TFTransformOutput(fn_args.transform_graph_path)
        stores = (make_store(config.hyperparameters.stream, run_dir) for _ in range(2))
        train = load_split(fn_args.train_files, transform_output, config.span_weight, next(stores))
        validation = load_split(fn_args.eval_files, transform_output, store=next(stores))
        checkpoint = EpochCheckpoint(checkpoints)
        model = train_model(
            train,
            validation,
            config.hyperparameters,
            checkpoint,
            run_dir,
            config.labels,
            Path(fn_args.base_model) if fn_args.base_model else None,
            strategy,
        )
    if not is_chief():
        return
    module = ServingModule(
        _as_float32(model, config.hyperparameters),
        transform_output,
        config.image_feature,
        config.labels,
        test_time_flip=config.hyperparameters.test_time_flip,
        label_smoothing=config.hyperparameters.label_smoothing,
    )
    temperature = module.calibrate(image_batches(validation), validation.labels)
    _log.info("calibrated with temperature %.2f", temperature)
    export(module, Path(fn_args.serving_model_dir), config.default_signature)
    checkpoint.remove()


@contextmanager
def _own_folders(checkpoints: Path, run_dir: Path) -> Iterator[tuple[Path, Path]]:
    """Yields where this machine keeps its checkpoints and logs; the chief alone keeps them."""
    if is_chief():
        yield checkpoints, run_dir
        return
    with tempfile.TemporaryDirectory() as scratch:
        own = Path(scratch) / "checkpoints"
        if checkpoints.exists():
            shutil.copytree(checkpoints, own)
        yield own, Path(scratch)


def train_model(
    train: LabelledImages,
    validation: LabelledImages,
    hyperparameters: Hyperparameters,
    checkpoint: EpochCheckpoint,
    run_dir: Path,
    labels: Sequence[str] = CLASS_LABELS,
    base_model: Path | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> keras.Model:
    """Trains from the start, or from the last checkpoint of the same training.

    Args:
        train: the images to fit.
        validation: the images to report on after each epoch.
        hyperparameters: everything that training may vary.
        checkpoint: the checkpoints of exactly this training.
        run_dir: gets `history.csv`, with the epochs before a resumption, and TensorBoard's logs.
        labels: names of the classes, in the order of their ids.
        base_model: a SavedModel of an earlier training, whose weights this one starts with.
        strategy: divides each batch among devices; None: among this machine's.

    Raises:
        ValueError: a batch has fewer images than there are devices.
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
    strategy = strategy or own_strategy()
    check_batch(hyperparameters.batch_size, strategy)
    steps = len(train.rows()) // hyperparameters.batch_size
    with strategy.scope():
        model = _new_model(hyperparameters, len(labels), train.images.shape[1:])
        epochs_done, restored = checkpoint.restore(model)
        if restored is not None:
            model = restored
            _log.info("training resumes after epoch %d of %d", epochs_done, hyperparameters.epochs)
        else:
            if hyperparameters.weights:
                load_backbone(model, hyperparameters.weights)
            if base_model:
                take_weights(model, base_model, labels)
    callbacks = [
        StopWhenDiverged(),
        SeedEpochs(hyperparameters.seed),
        keras.callbacks.CSVLogger(checkpoint.history, append=True),
        keras.callbacks.TensorBoard(run_dir / "tensorboard"),
        EpochLog(hyperparameters.epochs),
        checkpoint,
    ]
    for phase in phases(hyperparameters, model):
        if epochs_done > phase.end:
            continue
        if epochs_done <= phase.begin:
            freeze(model, phase.frozen)
            with strategy.scope():
                _compile(model, phase.of(hyperparameters), steps)
        first_epoch = max(epochs_done, phase.begin)
        batches = training_batches(train, hyperparameters, len(labels), first_epoch=first_epoch)
        # Where a phase's last epoch was done before a kill, this still ends the phase: an average
        # of weights takes their place.
        model.fit(
            over_machines(batches),
            validation_data=over_machines(validation_batches(validation, len(labels))),
            initial_epoch=first_epoch,
            epochs=phase.end,
            steps_per_epoch=steps,
            verbose=0,
            callbacks=callbacks,
        )
    shutil.copy(checkpoint.history, run_dir / "history.csv")
    return model


def _new_model(
    hyperparameters: Hyperparameters, class_count: int, image_shape: tuple[int, int, int]
) -> keras.Model:
    with _dtype_policy(training_policy(hyperparameters.precision)):
        model = build_model(hyperparameters, class_count, image_shape)
    if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
        model = MultiWorkerModel(model.inputs, model.outputs[0], name=model.name)
    return model


def _compile(model: keras.Model, hyperparameters: Hyperparameters, steps_per_epoch: int) -> None:
    model.compile(
        optimizer=build_optimizer(hyperparameters, steps_per_epoch),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=hyperparameters.label_smoothing
        ),
        metrics=["accuracy"],
        jit_compile=uses_xla(tf.distribute.get_strategy()),
    )


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
        digest_of(fn_args.train_files),
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
