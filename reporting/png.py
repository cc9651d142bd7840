"""Turns images of examples into what a page shows of them."""

import io
from collections.abc import Sequence

from PIL import Image

from data.picture import on_white

_LARGEST_EDGE = 64


def side_by_side(images: Sequence[bytes]) -> bytes:
    """Returns encoded images, shrunk to a thumbnail's size, as one compressed PNG."""
    opened = [on_white(Image.open(io.BytesIO(encoded))) for encoded in images]
    edge = min(_LARGEST_EDGE, max((max(image.size) for image in opened), default=1))
    mode = "L" if all(image.mode == "L" for image in opened) else "RGB"
    strip = Image.new(mode, (edge * len(opened), edge))
    for place, image in enumerate(opened):
        strip.paste(image.resize((edge, edge)), (edge * place, 0))
    png = io.BytesIO()
    strip.save(png, "PNG", optimize=True)
    return png.getvalue()
