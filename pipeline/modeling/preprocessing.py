"""What Transform does to a raw example; the same ops are part of the serving graph."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import tensorflow as tf

from pipeline.modeling.features import IMAGE, LABEL, Fit, ImageFormat, transformed_name
from pipeline.modeling.image_header import is_png, refuse_unsuitable


def decode_images(encoded: tf.Tensor, image_format: ImageFormat | None = None) -> tf.Tensor:
    """Decodes JPEG or PNG bytes of any size and colour to pixels in one format.

    What is transparent is white. The graph fails with InvalidArgument on what is damaged, or of a
    kind that `refuse_unsuitable` names.

    Args:
        encoded: string [N], one encoded image each.
        image_format: what the images become; None: 28x28 grey pixels.

    Returns:
        float32 [N, size, size, channels], 0 to 255.
    """
    wanted = image_format or ImageFormat()
    return tf.map_fn(
        partial(_decode_image, wanted=wanted),
        refuse_unsuitable(encoded, wanted.max_pixels),
        fn_output_signature=tf.TensorSpec(wanted.shape, tf.float32),
    )


def _decode_image(encoded: tf.Tensor, wanted: ImageFormat) -> tf.Tensor:
    # Only a PNG has transparency; its decoder adds it where there is none.
    image = tf.cond(
        is_png(encoded),
        lambda: _on_white(tf.io.decode_png(encoded, channels=wanted.channels + 1)),
        lambda: tf.cast(tf.io.decode_jpeg(encoded, channels=wanted.channels), tf.float32),
    )
    image = tf.ensure_shape(image, [None, None, wanted.channels])
    if wanted.fit is not Fit.SQUASH:
        image = _square(image, wanted.fit)
    image = tf.image.resize(image, [wanted.size, wanted.size], antialias=True)
    return tf.ensure_shape(image, wanted.shape)


def _on_white(image: tf.Tensor) -> tf.Tensor:
    """Lays pixels, uint8 [height, width, channels + 1], the last being opacity, on white paper."""
    image = tf.cast(image, tf.float32)
    color, opacity = image[..., :-1], image[..., -1:] / 255.0
    # Exact where a picture is opaque, as nearly all are.
    return color * opacity + 255.0 * (1.0 - opacity)


def _square(image: tf.Tensor, fit: Fit) -> tf.Tensor:
    """Cuts the middle out, or puts black on both sides."""
    height, width = tf.unstack(tf.shape(image)[:2])
    edge = tf.minimum(height, width) if fit is Fit.CROP else tf.maximum(height, width)
    return tf.image.resize_with_crop_or_pad(image, edge, edge)


def scale_pixels(pixels: tf.Tensor) -> tf.Tensor:
    """Scales pixels from 0..255 to the 0..1 that the model reads; the shape is kept."""
    return tf.cast(pixels, tf.float32) / 255.0


def preprocessing_fn(
    inputs: dict[str, tf.Tensor], custom_config: Mapping[str, Any] | None = None
) -> dict[str, tf.Tensor]:
    """Turns raw features into what the model trains on.

    Args:
        inputs: `image` (string, encoded) and `label` (int64), each [N] or [N, 1].
        custom_config: Transform's: the values of an ImageFormat.

    Returns:
        `image_xf` (float32 [N, size, size, channels], 0 to 1) and `label_xf` (int64 [N]).
    """
    encoded = tf.reshape(inputs[IMAGE], [-1])
    wanted = ImageFormat.model_validate(custom_config or {})
    return {
        transformed_name(IMAGE): scale_pixels(decode_images(encoded, wanted)),
        transformed_name(LABEL): tf.reshape(inputs[LABEL], [-1]),
    }
