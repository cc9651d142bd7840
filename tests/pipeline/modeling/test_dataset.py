"""The order in which training sees the images."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from pipeline.modeling.dataset import (
    LabelledImages,
    image_batches,
    load_split,
    training_batches,
    validation_batches,
)
from pipeline.settings.hyperparameters import Hyperparameters


@pytest.fixture
def split() -> LabelledImages:
    images = np.random.default_rng(0).random((50, 28, 28, 1), np.float32)
    return LabelledImages(images, np.arange(50))


def batches(
    split: LabelledImages, first_epoch: int = 0, **changes
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images with the numbers of their labels, which are those of the images in the split."""
    how = Hyperparameters(batch_size=8, epochs=2, seed=1, random_shift=0).model_copy(update=changes)
    dataset = training_batches(split, how, class_count=50, first_epoch=first_epoch)
    return [(images, labels.argmax(axis=1)) for images, labels in dataset.as_numpy_iterator()]


def test_an_epoch_shows_each_image_at_most_once(split: LabelledImages) -> None:
    labels = np.concatenate([labels for _, labels in batches(split, epochs=1)])
    assert len(labels) == 48  # six batches of eight; the partial one is left out
    assert len(set(labels)) == 48


def test_the_same_seed_gives_the_same_batches(split: LabelledImages) -> None:
    for (images, labels), (same_images, same_labels) in zip(
        batches(split), batches(split), strict=True
    ):
        np.testing.assert_array_equal(images, same_images)
        np.testing.assert_array_equal(labels, same_labels)


def test_whoever_is_done_with_a_dataset_waits_for_no_tuner(split: LabelledImages) -> None:
    datasets = (
        training_batches(split, Hyperparameters(batch_size=8), class_count=50),
        validation_batches(split, class_count=50),
        image_batches(split),
    )
    assert [dataset.options().autotune.enabled for dataset in datasets] == [False] * 3


def test_another_seed_or_epoch_gives_another_order(split: LabelledImages) -> None:
    first, second = batches(split)[:6], batches(split)[6:]
    other = batches(split, seed=2)[:6]
    order = [label for _, labels in first for label in labels]
    assert order != [label for _, labels in second for label in labels]
    assert order != [label for _, labels in other for label in labels]


def test_a_resumed_training_sees_what_an_uninterrupted_one_would_have_seen(
    split: LabelledImages,
) -> None:
    resumed = batches(split, first_epoch=1)
    for (images, labels), (same_images, same_labels) in zip(
        batches(split)[6:], resumed, strict=True
    ):
        np.testing.assert_array_equal(images, same_images)
        np.testing.assert_array_equal(labels, same_labels)


def test_about_half_of_the_images_are_flipped(split: LabelledImages) -> None:
    flipped = 0
    for images, labels in batches(split, epochs=4):
        for image, label in zip(images, labels, strict=True):
            original = split.images[label]
            if np.array_equal(image, original[:, ::-1]):
                flipped += 1
            else:
                np.testing.assert_array_equal(image, original)
    assert 60 < flipped < 132  # of 192; five standard deviations


def test_shift_and_cutout_are_applied_when_asked_for(split: LabelledImages) -> None:
    ((images, labels), *_) = batches(split, random_flip=False, random_shift=2, cutout=8)
    assert all(
        not np.array_equal(image, split.images[label])
        for image, label in zip(images, labels, strict=True)
    )


def test_an_epoch_sees_an_image_of_a_span_as_often_as_its_weight(split: LabelledImages) -> None:
    weighted = dataclasses.replace(split, repeats=np.where(split.labels < 10, 3, 1))
    seen = np.concatenate([labels for _, labels in batches(weighted, epochs=1, batch_size=7)])
    counts = np.bincount(seen, minlength=50)
    assert len(seen) == 70
    assert counts[:10].tolist() == [3] * 10
    assert counts[10:].tolist() == [1] * 40


def test_the_weight_is_that_of_spans_and_not_of_the_base(
    tmp_path: Path, transform_output: tft.TFTransformOutput
) -> None:
    image = tf.io.encode_png(tf.zeros([28, 28, 1], tf.uint8)).numpy()
    file = tmp_path / "data.gz"
    with tf.io.TFRecordWriter(str(file), "GZIP") as writer:
        for label, origin in enumerate([b"base", b"span-3", b"span-12", b"base"]):
            example = tf.train.Example()
            example.features.feature["image"].bytes_list.value.append(image)
            example.features.feature["label"].int64_list.value.append(label)
            example.features.feature["origin"].bytes_list.value.append(origin)
            writer.write(example.SerializeToString())
    weighted = load_split([str(file)], transform_output, span_weight=4)
    assert weighted.repeats is not None
    assert weighted.repeats.tolist() == [1, 4, 4, 1]
    assert load_split([str(file)], transform_output).repeats is None
