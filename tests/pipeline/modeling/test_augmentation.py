"""Augmentation moves, mirrors and hides parts of images, each by its own amount."""

import numpy as np
import tensorflow as tf

from pipeline.modeling.augmentation import cut_out, flip, shift

IMAGES = np.random.default_rng(0).random((64, 28, 28, 1), np.float32) + 0.5
SEED = tf.constant([1, 2], tf.int64)


def test_about_half_of_the_images_are_mirrored() -> None:
    flipped = flip(tf.constant(IMAGES), SEED).numpy()
    mirrored = [
        np.array_equal(after, before[:, ::-1])
        for after, before in zip(flipped, IMAGES, strict=True)
    ]
    same = [np.array_equal(after, before) for after, before in zip(flipped, IMAGES, strict=True)]
    assert all(one != other for one, other in zip(mirrored, same, strict=True))
    assert 12 < sum(mirrored) < 52  # of 64; five standard deviations


def test_images_are_shifted_by_at_most_the_given_pixels_with_black_behind_them() -> None:
    moves = set()
    for after, before in zip(shift(tf.constant(IMAGES), SEED, 2).numpy(), IMAGES, strict=True):
        padded = np.pad(before, [(2, 2), (2, 2), (0, 0)])
        fitting = [
            (row, column)
            for row in range(5)
            for column in range(5)
            if np.array_equal(after, padded[row : row + 28, column : column + 28])
        ]
        assert len(fitting) == 1
        moves.add(fitting[0])
    assert len(moves) > 10


def test_a_square_is_blackened_wherever_it_falls() -> None:
    hidden = cut_out(tf.constant(IMAGES), SEED, 6).numpy() == 0
    counts = hidden.sum(axis=(1, 2, 3))
    assert counts.max() == 36
    assert counts.min() >= 9  # a corner: the centre lies in the image
    rows = hidden.any(axis=(2, 3)).sum(axis=1)
    columns = hidden.any(axis=(1, 3)).sum(axis=1)
    np.testing.assert_array_equal(counts, rows * columns)


def test_the_same_seed_changes_the_same_way() -> None:
    for change in (flip, lambda i, s: shift(i, s, 3), lambda i, s: cut_out(i, s, 5)):
        first, second = (change(tf.constant(IMAGES), SEED) for _ in range(2))
        np.testing.assert_array_equal(first, second)
