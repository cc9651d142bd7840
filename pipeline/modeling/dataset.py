"""Transformed examples as tensors, and the order in which training sees them."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from data.layout import BASE_ORIGIN
from pipeline.modeling.augmentation import cut_out, flip, shift
from pipeline.modeling.features import CLASS_COUNT, IMAGE, LABEL, ORIGIN, transformed_name
from pipeline.modeling.image_store import ImageStore, Reader, images_at_once
from pipeline.settings.hyperparameters import Hyperparameters
from serving.machine import usable_cpus

_DECODE_BATCH = 1024
_READ_BYTES = 1 << 20
_EVALUATION_BATCH = 1000
# Batches that wait for a step: more would hold large pictures by the gigabyte.
_WAITING_BATCHES = 2


@dataclass(frozen=True)
class LabelledImages:
    """One split.

    Attributes:
        images: float32 [N, size, size, channels], 0 to 1.
        labels: int64 [N].
        repeats: int64 [N], how often an epoch sees each image; None: once.
    """

    images: np.ndarray | ImageStore
    labels: np.ndarray
    repeats: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self) -> np.ndarray:
        """The positions of an epoch's images, int64, before they are shuffled."""
        return np.repeat(np.arange(len(self)), 1 if self.repeats is None else self.repeats)

    def reader(self) -> Reader:
        """Returns what reads, in a TensorFlow graph, the images at positions, int64 [n]."""
        if isinstance(self.images, ImageStore):
            return self.images.reader()
        images = tf.constant(self.images)
        return lambda rows: tf.gather(images, rows)


def digest_of(file_patterns: Sequence[str]) -> str:
    """SHA-256 over the content of all files, in hexadecimal.

    Where they are says nothing: folders are numbered anew when the metadata was removed.
    """
    digest = hashlib.sha256()
    for path in _files(file_patterns):
        with tf.io.gfile.GFile(path, "rb") as file:
            while part := file.read(_READ_BYTES):
                digest.update(part)
    return digest.hexdigest()


def _files(patterns: Sequence[str]) -> list[str]:
    return sorted(path for pattern in patterns for path in tf.io.gfile.glob(pattern))


def load_split(
    file_patterns: Sequence[str],
    transform_output: tft.TFTransformOutput,
    span_weight: int = 1,
    store: ImageStore | None = None,
) -> LabelledImages:
    """Reads raw tf.Examples in the order of their files and applies the transform graph.

    Args:
        file_patterns: of gzipped record files.
        transform_output: the graph.
        span_weight: how often an epoch sees an image of a span, beside once one of the base.
        store: an empty one, gets the images; None: they are kept in memory.

    Raises:
        ValueError: when the patterns match no example.
    """
    files = _files(file_patterns)
    raw_features = {
        name: spec
        for name, spec in transform_output.raw_feature_spec().items()
        if name in ((IMAGE, LABEL) if span_weight == 1 else (IMAGE, LABEL, ORIGIN))
    }
    transform = transform_output.transform_features_layer()

    def to_features(serialized: tf.Tensor) -> tuple[tf.Tensor, ...]:
        raw = tf.io.parse_example(serialized, raw_features)
        is_base = tf.equal(raw.pop(ORIGIN, BASE_ORIGIN), BASE_ORIGIN)
        transformed = transform(raw)
        image, label = (transformed[transformed_name(name)] for name in (IMAGE, LABEL))
        return image, label, tf.broadcast_to(is_base, tf.shape(label))

    image_shape = transform_output.transformed_feature_spec()[transformed_name(IMAGE)].shape
    batches = (
        tf.data.TFRecordDataset(files, compression_type="GZIP")
        .batch(images_at_once(image_shape, _DECODE_BATCH))
        .map(to_features, num_parallel_calls=usable_cpus(), deterministic=True)
    )
    store = store or ImageStore()
    loaded = []
    for images, *others in _untuned(batches).as_numpy_iterator():
        store.append(images)
        loaded.append(others)
    if not loaded:
        raise ValueError(f"no examples in {', '.join(file_patterns)}")
    labels, of_base = map(np.concatenate, zip(*loaded, strict=True))
    repeats = np.where(of_base, 1, span_weight) if span_weight != 1 else None
    return LabelledImages(store, labels, repeats)


def image_batches(split: LabelledImages) -> tf.data.Dataset:
    """All images in their order, float32 [batch, size, size, channels], 0 to 1."""
    rows = tf.data.Dataset.range(len(split)).batch(_evaluation_batch(split))
    return _untuned(rows.map(split.reader(), num_parallel_calls=usable_cpus()).prefetch(1))


def validation_batches(split: LabelledImages, class_count: int = CLASS_COUNT) -> tf.data.Dataset:
    """All images in their order, with one-hot labels, float32 [batch, class_count]."""
    labels = tf.data.Dataset.from_tensor_slices(split.labels).batch(_evaluation_batch(split))
    one_hot = labels.map(lambda batch: tf.one_hot(batch, class_count))
    return tf.data.Dataset.zip(image_batches(split), one_hot)


def _evaluation_batch(split: LabelledImages) -> int:
    """Returns a size without a small rest, of which some devices would get nothing."""
    images, *image_shape = split.images.shape
    most = images_at_once(image_shape, _EVALUATION_BATCH)
    return math.ceil(images / max(1, math.ceil(images / most)))


def training_batches(
    split: LabelledImages,
    hyperparameters: Hyperparameters,
    class_count: int = CLASS_COUNT,
    first_epoch: int = 0,
) -> tf.data.Dataset:
    """Shuffled, augmented batches for the epochs from `first_epoch` on.

    The order and the augmentation of an epoch depend on the seed and the epoch's number alone,
    so that a resumed training sees what an uninterrupted one would have seen.

    Yields:
        float32 [batch, size, size, channels] and, one-hot, float32 [batch, class_count]; an
        epoch's last, partial batch is left out.
    """
    rows = tf.constant(split.rows())
    labels = tf.constant(split.labels)
    read = split.reader()
    batch_size, seed = hyperparameters.batch_size, hyperparameters.seed

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(rows, seed=[seed, epoch])
        batches = tf.data.Dataset.from_tensor_slices(order).batch(batch_size, drop_remainder=True)
        return batches.enumerate().map(lambda step, chosen: (epoch, step, chosen))

    def to_batch(
        epoch: tf.Tensor, step: tf.Tensor, chosen: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        seeds = tf.unstack(
            tf.random.experimental.stateless_split([seed + epoch, step], num=3), num=3
        )
        batch = _augmented(read(chosen), seeds, hyperparameters)
        return batch, tf.one_hot(tf.gather(labels, chosen), class_count)

    batches = (
        tf.data.Dataset.range(first_epoch, hyperparameters.epochs)
        .flat_map(one_epoch)
        .map(to_batch, num_parallel_calls=usable_cpus(), deterministic=True)
        .prefetch(_WAITING_BATCHES)
    )
    return _untuned(batches)


def _untuned(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Switches off what tunes a dataset while it is read.

    Its thread sleeps for up to a minute between looks, and who is done with the dataset may have to
    wait until it wakes: a training of one epoch took 15 s more every other time.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)


def _augmented(
    images: tf.Tensor, seeds: Sequence[tf.Tensor], hyperparameters: Hyperparameters
) -> tf.Tensor:
    if hyperparameters.random_flip:
        images = flip(images, seeds[0])
    if hyperparameters.random_shift:
        images = shift(images, seeds[1], hyperparameters.random_shift)
    if hyperparameters.cutout:
        images = cut_out(images, seeds[2], hyperparameters.cutout)
    return images
