"""Random changes of training images that leave their label true."""

import tensorflow as tf


def flip(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirrors about half of the images, left to right.

    Args:
        images: float32 [N, height, width, channels].
        seed: int64 [2]; the same one gives the same result.
    """
    coins = tf.random.stateless_uniform([tf.shape(images)[0]], seed) < 0.5
    return tf.where(coins[:, None, None, None], tf.reverse(images, axis=[2]), images)


def shift(images: tf.Tensor, seed: tf.Tensor, pixels: int) -> tf.Tensor:
    """Moves each image by up to `pixels` along both axes; black comes in at the edges.

    Args:
        images: float32 [N, size, size, channels].
        seed: int64 [2]; the same one gives the same result.
        pixels: the furthest that an image moves.
    """
    padded = tf.pad(images, [[0, 0], [pixels, pixels], [pixels, pixels], [0, 0]])
    offsets = _offsets(images, seed, 0, 2 * pixels + 1)
    rows, columns = tf.unstack(offsets + tf.range(images.shape[1]))
    moved = tf.gather(padded, rows, axis=1, batch_dims=1)
    return tf.gather(moved, columns, axis=2, batch_dims=1)


def cut_out(images: tf.Tensor, seed: tf.Tensor, pixels: int) -> tf.Tensor:
    """Blackens a square in each image, https://arxiv.org/abs/1708.04552.

    Args:
        images: float32 [N, size, size, channels].
        seed: int64 [2]; the same one gives the same result.
        pixels: edge of the square, whose centre lies in the image.
    """
    offsets = _offsets(images, seed, -(pixels // 2), images.shape[1] - pixels // 2)
    position = tf.range(images.shape[1]) - offsets
    rows, columns = tf.unstack((position >= 0) & (position < pixels))
    hidden = rows[:, :, None] & columns[:, None, :]
    return tf.where(hidden[..., None], 0.0, images)


def _offsets(images: tf.Tensor, seed: tf.Tensor, lowest: int, end: int) -> tf.Tensor:
    shape = [2, tf.shape(images)[0], 1]
    return tf.random.stateless_uniform(shape, seed, lowest, end, tf.int32)
