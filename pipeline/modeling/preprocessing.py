"""What Transform does to a raw example; the same ops are part of the serving graph."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from pipeline.modeling.features import IMAGE, IMAGE_SIZE, LABEL, MAX_PIXELS, transformed_name
from pipeline.modeling.image_header import refuse_unsuitable


def decode_images(encoded: tf.Tensor, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """Decodes JPEG or PNG bytes of any size and colour to grey 28x28 pixels.

    The graph fails with InvalidArgument on what is neither, damaged, or larger than `max_pixels`.

    Args:
        encoded: string [N], one encoded image each.
        max_pixels: the largest product of an image's width and height.

    Returns:
        float32 [N, 28, 28, 1], 0 to 255.
    """
    return tf.map_fn(
        _decode_image,
        refuse_unsuitable(encoded, max_pixels),
        fn_output_signature=tf.TensorSpec([IMAGE_SIZE, IMAGE_SIZE, 1], tf.float32),
    )


def _decode_image(encoded: tf.Tensor) -> tf.Tensor:
    image = tf.io.decode_image(encoded, channels=1, expand_animations=False)
    image = tf.ensure_shape(image, [None, None, 1])
    image = tf.image.resize(image, [IMAGE_SIZE, IMAGE_SIZE], antialias=True)
    return tf.ensure_shape(image, [IMAGE_SIZE, IMAGE_SIZE, 1])


def scale_pixels(pixels: tf.Tensor) -> tf.Tensor:
    """Scales pixels from 0..255 to the 0..1 that the model reads; the shape is kept."""
    return tf.cast(pixels, tf.float32) / 255.0


def preprocessing_fn(
    inputs: dict[str, tf.Tensor], custom_config: Mapping[str, Any] | None = None
) -> dict[str, tf.Tensor]:
    """Turns raw features into what the model trains on.

    Args:
        inputs: `image` (string, encoded) and `label` (int64), each [N] or [N, 1].
        custom_config: Transform's; `max_pixels` limits the images as in `decode_images`.

    Returns:
        `image_xf` (float32 [N, 28, 28, 1], 0 to 1) and `label_xf` (int64 [N]).
    """
    encoded = tf.reshape(inputs[IMAGE], [-1])
    max_pixels = (custom_config or {}).get("max_pixels", MAX_PIXELS)
    return {
        transformed_name(IMAGE): scale_pixels(decode_images(encoded, max_pixels)),
        transformed_name(LABEL): tf.reshape(inputs[LABEL], [-1]),
    }
