"""What InfraValidator sends is what the serving graph makes of the same picture."""

from io import BytesIO

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import meta_graph_pb2

from components.examples import as_example
from components.infra_validator.requests import RequestBuilder
from data.fit import Fit
from pipeline.infra_validation import validation_spec
from pipeline.modeling.features import Color
from pipeline.modeling.preprocessing import decode_images
from pipeline.settings.load import load_config


def picture(mode: str, file_format: str, width: int = 48, height: int = 30) -> bytes:
    """A gradient with a bright patch, so that no part of it looks like another."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 5, y * 8, (x + y) * 3, 255 - x * 5], axis=-1).astype(np.uint8)
    pixels[5:12, 30:40, :3] = 250
    encoded = BytesIO()
    Image.fromarray(pixels, "RGBA").convert(mode).save(encoded, file_format)
    return encoded.getvalue()


@pytest.mark.parametrize("fit", list(Fit))
@pytest.mark.parametrize("color", list(Color))
@pytest.mark.parametrize(
    ("mode", "file_format"), [("RGB", "PNG"), ("L", "PNG"), ("RGBA", "PNG"), ("RGB", "JPEG")]
)
def test_pixels_that_are_sent_are_those_that_the_graph_reads(
    mode: str, file_format: str, color: Color, fit: Fit
) -> None:
    config = load_config("smoke", data__image_size=16, data__color=color, data__fit=fit)
    signature = meta_graph_pb2.SignatureDef()
    images = signature.inputs["images"]
    images.dtype = tf.float32.as_datatype_enum
    for size in (-1, 16, 16, config.image_format.channels):
        images.tensor_shape.dim.add(size=size)
    encoded = picture(mode, file_format)

    builder = RequestBuilder(
        validation_spec(config), {"predict_images": signature}, [as_example(encoded)]
    )
    [call] = builder.calls("predict_images", 1)

    read = decode_images(tf.constant([encoded]), config.image_format).numpy()
    assert np.abs(call.inputs["images"] - read).max() <= 1.0
