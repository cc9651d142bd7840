"""A recorded picture is shown small, or grey where Pillow cannot read it."""

import io
import struct
import zlib

import pytest
from PIL import Image

from reporting.traffic.page import thumbnail


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """A white PNG with further chunks behind its header."""
    written = io.BytesIO()
    Image.new("L", (28, 28), "white").save(written, "PNG")
    plain = written.getvalue()
    more = [
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    ]
    return plain[:33] + b"".join(more) + plain[33:]


@pytest.mark.parametrize(
    ("encoded", "brightness"),
    [
        (png(), 255),
        (png((b"pHYs", b"\0")), 128),
        (png((b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2_000_000)))), 128),
        (b"\x89PNG and nothing else", 128),
    ],
    ids=["sound", "short chunk", "large text", "no picture"],
)
def test_every_picture_has_a_thumbnail(encoded: bytes, brightness: int) -> None:
    shown = Image.open(io.BytesIO(thumbnail(encoded))).convert("L")
    assert shown.getpixel((0, 0)) == brightness
