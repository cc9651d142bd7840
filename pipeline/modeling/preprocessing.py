"""What Transform does to a raw example; the same ops are part of the serving graph."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import tensorflow as tf

from data.fit import Fit
from pipeline.modeling.features import IMAGE, LABEL, Color, ImageFormat, transformed_name
from pipeline.modeling.image_header import may_be_transparent, refuse_unsuitable

# What libpng and libjpeg make grey with.
_GREY_WEIGHTS = (0.299, 0.587, 0.114)


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
    encoded = refuse_unsuitable(encoded, wanted.max_pixels)
    return tf.map_fn(
        partial(_decode_image, wanted=wanted),
        (encoded, may_be_transparent(encoded)),
        fn_output_signature=tf.TensorSpec(wanted.shape, tf.float32),
    )


def _decode_image(image: tuple[tf.Tensor, tf.Tensor], wanted: ImageFormat) -> tf.Tensor:
    encoded, may_be_transparent = image
    pixels = tf.cond(
        may_be_transparent,
        lambda: _decode_transparent(encoded, wanted),
        lambda: _decode_opaque(encoded, wanted),
    )
    return _resized(tf.ensure_shape(pixels, [None, None, wanted.channels]), wanted)


def _resized(image: tf.Tensor, wanted: ImageFormat) -> tf.Tensor:
    if wanted.fit is not Fit.SQUASH:
        image = _square(image, wanted.fit)
    image = tf.image.resize(image, [wanted.size, wanted.size], antialias=True)
    return tf.ensure_shape(image, wanted.shape)


def _decode_opaque(encoded: tf.Tensor, wanted: ImageFormat) -> tf.Tensor:
    return tf.io.decode_image(encoded, channels=wanted.channels, expand_animations=False)


def _decode_transparent(encoded: tf.Tensor, wanted: ImageFormat) -> tf.Tensor:
    # Of a palette, the decoder gets opacity right only when it is not asked for it.
    image = tf.io.decode_png(encoded, channels=0)
    return tf.cond(
        tf.shape(image)[-1] % 2 == 0,
        lambda: _on_white(image, wanted.color),
        lambda: _decode_opaque(encoded, wanted),
    )


def _on_white(image: tf.Tensor, color: Color) -> tf.Tensor:
    """Lays pixels, uint8 [height, width, 2 or 4], the last being opacity, on white paper."""
    image = tf.cast(image, tf.float32)
    opacity = image[..., -1:] / 255.0
    laid = image[..., :-1] * opacity + 255.0 * (1.0 - opacity)
    laid = tf.broadcast_to(laid, [*tf.unstack(tf.shape(image)[:2]), 3])
    if color is Color.GREY:
        laid = tf.reduce_sum(laid * _GREY_WEIGHTS, axis=-1, keepdims=True)
    return tf.cast(tf.round(laid), tf.uint8)


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
