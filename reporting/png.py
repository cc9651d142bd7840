"""Turns images of examples into what a page shows of them."""

import io
from collections.abc import Sequence

from PIL import Image

from pipeline.modeling.features import IMAGE_SIZE


def side_by_side(images: Sequence[bytes]) -> bytes:
    """Returns encoded images of the project's size as one compressed grey PNG."""
    strip = Image.new("L", (IMAGE_SIZE * len(images), IMAGE_SIZE))
    for place, encoded in enumerate(images):
        image = Image.open(io.BytesIO(encoded)).convert("L").resize((IMAGE_SIZE, IMAGE_SIZE))
        strip.paste(image, (IMAGE_SIZE * place, 0))
    png = io.BytesIO()
    strip.save(png, "PNG", optimize=True)
    return png.getvalue()
