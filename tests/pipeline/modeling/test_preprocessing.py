"""Whatever a client sends as an image becomes pixels of one size and colour between 0 and 1."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data.fit import Fit
from pipeline.modeling.features import Color, ImageFormat
from pipeline.modeling.preprocessing import decode_images, preprocessing_fn, scale_pixels


def encoded(image: Image.Image, image_format: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format)
    return buffer.getvalue()


def gradient(size: int = 28) -> Image.Image:
    row = np.linspace(0, 255, size).astype(np.uint8)
    return Image.fromarray(np.tile(row, (size, 1)))


def test_a_png_keeps_every_pixel() -> None:
    image = gradient()
    (decoded,) = decode_images(tf.constant([encoded(image, "PNG")])).numpy()
    np.testing.assert_array_equal(decoded[..., 0], np.asarray(image))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_colour_and_transparency_become_grey(mode: str) -> None:
    (decoded,) = decode_images(tf.constant([encoded(gradient().convert(mode), "PNG")])).numpy()
    np.testing.assert_allclose(decoded[..., 0], np.asarray(gradient()), atol=1.0)


@pytest.mark.parametrize("size", [14, 56, 300])
def test_any_size_is_resized(size: int) -> None:
    (decoded,) = decode_images(tf.constant([encoded(gradient(size), "JPEG")])).numpy()
    assert decoded.shape == (28, 28, 1)
    np.testing.assert_allclose(decoded[..., 0], np.asarray(gradient()), atol=12.0)


def test_colours_are_kept_where_the_network_sees_them() -> None:
    image = Image.new("RGB", (90, 90), (200, 100, 50))
    wanted = ImageFormat(size=48, color=Color.RGB)
    for kind in ("PNG", "JPEG"):
        (decoded,) = decode_images(tf.constant([encoded(image, kind)]), wanted).numpy()
        assert decoded.shape == (48, 48, 3)
        np.testing.assert_allclose(decoded[10, 10], [200, 100, 50], atol=3)


@pytest.mark.parametrize(
    ("fit", "seen"),
    [(Fit.SQUASH, (255, 128, 255)), (Fit.CROP, (128, 128, 128)), (Fit.PAD, (0, 128, 0))],
)
def test_what_is_not_square_is_squashed_cut_or_padded(fit: Fit, seen: tuple[int, ...]) -> None:
    image = Image.new("L", (20, 60), 128)
    image.paste(255, (0, 0, 20, 10))
    image.paste(255, (0, 50, 20, 60))
    (decoded,) = decode_images(
        tf.constant([encoded(image, "PNG")]), ImageFormat(size=12, fit=fit)
    ).numpy()
    middle = decoded[6, 0] if fit is Fit.PAD else decoded[0, 6]
    assert middle[0] == pytest.approx(seen[0], abs=0.01)
    assert decoded[6, 6, 0] == pytest.approx(seen[1], abs=0.01)


def test_pixels_are_scaled_to_one() -> None:
    np.testing.assert_allclose(scale_pixels(tf.constant([0.0, 51.0, 255.0])), [0.0, 0.2, 1.0])


def test_features_come_with_or_without_an_inner_dimension() -> None:
    image = encoded(gradient(), "PNG")
    for shape in ([2], [2, 1]):
        transformed = preprocessing_fn(
            {
                "image": tf.reshape(tf.constant([image, image]), shape),
                "label": tf.reshape(tf.constant([3, 4], tf.int64), shape),
            }
        )
        assert transformed["image_xf"].shape == (2, 28, 28, 1)
        assert transformed["label_xf"].numpy().tolist() == [3, 4]
