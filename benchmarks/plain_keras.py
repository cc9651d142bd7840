"""What a run comes down to without TFX: a Keras script for `benchmarks.pipeline` to compare with.

    python -m benchmarks.plain_keras CONFIG.json EXPORT_DIR [--stock-layers]

Reads the same IDX files, trains the same network with the same augmentation for the same steps,
judges it class by class on the test images and exports the same signatures; with --stock-layers, as
one would have written it with what Keras brings. Prints the seconds of each step as one JSON
object.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from scipy.stats import rankdata

from benchmarks.normalization import with_normalization
from data import splits
from data.idx import read_images, read_labels
from data.layout import Role
from pipeline.modeling.augmentation import cut_out, flip, shift
from pipeline.modeling.calibration import fit_temperature
from pipeline.modeling.determinism import limit_threads, make_deterministic
from pipeline.modeling.features import IMAGE, IMAGE_SIZE
from pipeline.modeling.network import build_model
from pipeline.modeling.normalization import FusedBatchNormalization
from pipeline.modeling.optimizer import build_optimizer
from pipeline.modeling.precision import training_policy
from pipeline.modeling.preprocessing import decode_images, scale_pixels
from pipeline.settings.config import Config
from pipeline.settings.hyperparameters import Hyperparameters
from serving.machine import usable_cpus

_PREDICT_BATCH = 1_000

Split = tuple[np.ndarray, np.ndarray]


def main() -> None:
    """Runs the script."""
    config = Config.model_validate_json(Path(sys.argv[1]).read_text())
    layer = layers.BatchNormalization if sys.argv[3:] else FusedBatchNormalization
    settings, labels = config.training, config.data.labels
    seconds: dict[str, float] = {}
    limit_threads(settings.threads)
    with timed(seconds, "load"):
        train, validation, test = load(config.base_dir)
    with timed(seconds, "train"):
        model = fit(train, validation, settings, len(labels), layer)
    with timed(seconds, "calibrate"):
        serving = Serving(in_float32(model, settings, len(labels)), labels, settings)
        serving.calibrate(validation)
    with timed(seconds, "evaluate"):
        quality = evaluate(serving, test)
    with timed(seconds, "export"):
        export(serving, Path(sys.argv[2]))
    print(json.dumps({"seconds": seconds, **quality}))


@contextmanager
def timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    """Notes how long a step takes."""
    began = time.monotonic()
    yield
    seconds[step] = time.monotonic() - began


def load(folder: Path) -> tuple[Split, Split, Split]:
    """Reads the files and holds out the images that the pipeline validates with."""
    images, labels = _read(folder, "train")
    chosen = splits.split_of(Role.TRAINING, splits.digests(images[..., 0]))
    train, validation = (
        (images[chosen == place].astype(np.float32) / 255, labels[chosen == place])
        for place in (splits.SPLITS.index("train"), splits.SPLITS.index("validation"))
    )
    test_images, test_labels = _read(folder, "t10k")
    return train, validation, (test_images.astype(np.float32), test_labels)


def _read(folder: Path, part: str) -> Split:
    (images,) = folder.glob(f"{part}-images*")
    (labels,) = folder.glob(f"{part}-labels*")
    return read_images(images)[..., np.newaxis], read_labels(labels).astype(np.int64)


def fit(
    train: Split,
    validation: Split,
    settings: Hyperparameters,
    class_count: int,
    normalization: type[layers.Layer] = FusedBatchNormalization,
) -> keras.Model:
    """Trains as Trainer does."""
    make_deterministic(settings.seed)
    steps = len(train[1]) // settings.batch_size
    model = compiled_model(settings, steps, class_count, normalization)
    model.fit(
        batches(train, settings, class_count),
        validation_data=(validation[0], keras.ops.one_hot(validation[1], class_count)),
        validation_batch_size=_PREDICT_BATCH,
        epochs=settings.epochs,
        steps_per_epoch=steps,
        verbose=0,
    )
    return model


def compiled_model(
    settings: Hyperparameters,
    steps: int,
    class_count: int,
    normalization: type[layers.Layer] = FusedBatchNormalization,
) -> keras.Model:
    """Returns the network with the optimizer and loss that Trainer gives it."""
    keras.config.set_dtype_policy(training_policy(settings.precision).value)
    model = with_normalization(build_model(settings, class_count), normalization)
    model.compile(
        optimizer=build_optimizer(settings, steps),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=settings.label_smoothing
        ),
        metrics=["accuracy"],
        jit_compile=False,
    )
    return model


def batches(train: Split, settings: Hyperparameters, class_count: int) -> tf.data.Dataset:
    """Shuffled, augmented batches without end."""
    images, labels = train

    def augment(step: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        pixels, classes = batch
        seed = tf.stack([tf.constant(settings.seed, tf.int64), step])
        if settings.random_flip:
            pixels = flip(pixels, seed)
        if settings.random_shift:
            pixels = shift(pixels, seed, settings.random_shift)
        if settings.cutout:
            pixels = cut_out(pixels, seed, settings.cutout)
        return pixels, tf.one_hot(classes, class_count)

    order = tf.data.Dataset.range(len(labels)).shuffle(len(labels), seed=settings.seed).repeat()
    pixels, classes = tf.constant(images), tf.constant(labels)
    # As the pipeline does: the tuner's thread may hold up the end of the training by a minute.
    options = tf.data.Options()
    options.autotune.enabled = False
    return (
        order.batch(settings.batch_size)
        .map(lambda chosen: (tf.gather(pixels, chosen), tf.gather(classes, chosen)))
        .enumerate()
        .map(augment, num_parallel_calls=usable_cpus())
        .prefetch(2)
        .with_options(options)
    )


def in_float32(trained: keras.Model, settings: Hyperparameters, class_count: int) -> keras.Model:
    """Returns the model as it is exported."""
    keras.config.set_dtype_policy("float32")
    model = build_model(settings, class_count)
    model.set_weights(trained.get_weights())
    return model


class Serving(tf.Module):
    """The model behind the signatures that the pipeline exports."""

    def __init__(
        self, model: keras.Model, labels: tuple[str, ...], settings: Hyperparameters
    ) -> None:
        super().__init__()
        self._network = lambda scaled: model(scaled, training=False)
        self._weights = [weight.value for weight in model.weights]
        self._labels = tf.constant(list(labels))
        self._test_time_flip = settings.test_time_flip
        self._temperature = tf.Variable(1.0, trainable=False)

    def calibrate(self, validation: Split) -> None:
        """Fits the temperature of the softmax."""
        parts = tf.data.Dataset.from_tensor_slices(validation[0]).batch(_PREDICT_BATCH)
        logits = np.concatenate(list(parts.map(self._logits).as_numpy_iterator()))
        self._temperature.assign(fit_temperature(logits, validation[1]))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classify(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = self._probabilities(self._decoded(inputs))
        scores, order = tf.math.top_k(probabilities, k=len(self._labels))
        return {"classes": tf.gather(self._labels, order), "scores": scores}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, IMAGE_SIZE, IMAGE_SIZE, 1], tf.float32, name="images")
        ]
    )
    def predict_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._answer(images)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def predict_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._answer(decode_images(image_bytes))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def predict_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._answer(self._decoded(examples))

    def _decoded(self, serialized: tf.Tensor) -> tf.Tensor:
        feature = tf.io.FixedLenFeature([], tf.string)
        return decode_images(tf.io.parse_example(serialized, {IMAGE: feature})[IMAGE])

    def _answer(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = self._probabilities(pixels)
        class_id = tf.argmax(probabilities, axis=1)
        label = tf.gather(self._labels, class_id)
        return {"probabilities": probabilities, "class_id": class_id, "label": label}

    def _probabilities(self, pixels: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(self._logits(scale_pixels(pixels)) / self._temperature)

    def _logits(self, scaled: tf.Tensor) -> tf.Tensor:
        if not self._test_time_flip:
            return self._network(scaled)
        return (self._network(scaled) + self._network(tf.reverse(scaled, axis=[2]))) / 2


def evaluate(serving: Serving, test: Split) -> dict[str, Any]:
    """Returns the accuracy, and precision, recall and AUC of each class."""
    images, truth = test
    parts = tf.data.Dataset.from_tensor_slices(images).batch(_PREDICT_BATCH)
    probabilities = np.concatenate(
        [serving.predict_images(part)["probabilities"].numpy() for part in parts]
    )
    predicted = probabilities.argmax(axis=1)
    classes = []
    for class_id in range(probabilities.shape[1]):
        is_class, called = truth == class_id, predicted == class_id
        right = float((is_class & called).sum())
        ranks, count = rankdata(probabilities[:, class_id]), float(is_class.sum())
        pairs = count * (len(truth) - count)
        classes.append(
            {
                "precision": right / max(1.0, float(called.sum())),
                "recall": right / count,
                "auc": (float(ranks[is_class].sum()) - count * (count + 1) / 2) / pairs,
            }
        )
    return {"accuracy": float((predicted == truth).mean()), "classes": classes}


def export(serving: Serving, folder: Path) -> None:
    """Writes the SavedModel with the pipeline's signatures."""
    signatures = {
        "serving_default": serving.classify,
        "classify": serving.classify,
        "predict_images": serving.predict_images,
        "predict_bytes": serving.predict_bytes,
        "predict_examples": serving.predict_examples,
    }
    tf.saved_model.save(serving, str(folder), signatures=signatures)


if __name__ == "__main__":
    main()
