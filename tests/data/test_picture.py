"""A picture file means the same in training, to a server and to a client, or is refused by name."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data.picture import UnreadableImageError, pixel_digest, read_picture
from pipeline.modeling.features import Color, ImageFormat
from pipeline.modeling.preprocessing import decode_images

LIMIT = 25_000_000
EDGE = 32
FORMAT = ImageFormat(size=EDGE, color=Color.RGB)


def picture() -> Image.Image:
    """Four colours, so that one sees which way up it is and what became of them."""
    image = Image.new("RGB", (EDGE, EDGE), (200, 40, 40))
    half = EDGE // 2
    image.paste((40, 200, 40), (half, 0, EDGE, half))
    image.paste((40, 40, 200), (0, half, half, EDGE))
    image.paste((230, 230, 230), (half, half, EDGE, EDGE))
    return image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(orientation: int, undo: Image.Transpose, kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(picture().transpose(undo), kind, exif=exif)


def with_hole() -> Image.Image:
    image = picture().convert("RGBA")
    # What lies under the transparent part is green, and must not be seen.
    image.paste((0, 255, 0, 0), (0, 0, 8, 8))
    return image


def deep_png(pixels: np.ndarray) -> bytes:
    """A PNG of 16 bits with two to four channels, which Pillow cannot write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    height, width, channels = pixels.shape
    colour_type = {2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def wide() -> np.ndarray:
    return np.asarray(picture()).astype(np.uint16) * 257


def grey_png(brightest: int) -> bytes:
    """A PNG of 16 bits, half of it black."""
    pixels = np.zeros((EDGE, EDGE), np.uint16)
    pixels[3:] = brightest
    return encoded(Image.fromarray(pixels), "PNG")


def palette_with_hole() -> bytes:
    image = with_hole().quantize(8)
    return encoded(image, "PNG")


SAME: dict[str, Callable[[], bytes]] = {
    "PNG": lambda: encoded(picture(), "PNG"),
    "interlaced palette": lambda: encoded(picture().quantize(8), "PNG"),
    "PNG that has to be turned": lambda: turned(6, Image.Transpose.ROTATE_90, "PNG"),
    "JPEG that has to be turned": lambda: turned(3, Image.Transpose.ROTATE_180, "JPEG"),
    "JPEG that is mirrored": lambda: turned(2, Image.Transpose.FLIP_LEFT_RIGHT, "JPEG"),
    "progressive JPEG": lambda: encoded(picture(), "JPEG", progressive=True, quality=95),
    "WebP": lambda: encoded(picture(), "WEBP", lossless=True),
    "BMP": lambda: encoded(picture(), "BMP"),
    "GIF of one frame": lambda: encoded(picture().quantize(8), "GIF"),
    "TIFF": lambda: encoded(picture(), "TIFF"),
    "16 bits": lambda: deep_png(wide()),
    "opaque RGBA": lambda: encoded(picture().convert("RGBA"), "PNG"),
}


@pytest.mark.parametrize("made", SAME.values(), ids=SAME)
def test_what_training_and_serving_see_is_what_people_see(made: Callable[[], bytes]) -> None:
    found = read_picture(made(), LIMIT)
    (served,) = decode_images(tf.constant([found.content]), FORMAT).numpy()
    expected = np.asarray(picture()).astype(int)
    shown = np.asarray(found.image.convert("RGB")).astype(int)
    # Away from the borders, where JPEG mixes colours.
    inside = [np.s_[a : a + 10, b : b + 10] for a in (3, 19) for b in (3, 19)]
    for part in inside:
        assert np.abs(served[part] - expected[part]).max() <= 12
        assert np.abs(shown[part] - served[part]).max() <= 10


@pytest.mark.parametrize("made", [lambda: encoded(with_hole(), "PNG"), palette_with_hole])
@pytest.mark.parametrize("color", list(Color))
def test_what_is_transparent_is_white_everywhere(made: Callable[[], bytes], color: Color) -> None:
    found = read_picture(made(), LIMIT)
    assert found.changes == ()
    wanted = ImageFormat(size=EDGE, color=color)
    (served,) = decode_images(tf.constant([found.content]), wanted).numpy()
    assert served[:7, :7].min() == 255
    assert np.asarray(found.image)[:7, :7].min() == 255
    assert served[19:29, 3:13].max() < 210


def test_cmyk_is_made_rgb_because_the_graph_refuses_it() -> None:
    content = encoded(picture().convert("CMYK"), "JPEG", quality=95)
    with pytest.raises(tf.errors.InvalidArgumentError, match="JPEG of CMYK colours"):
        decode_images(tf.constant([content]), FORMAT)
    found = read_picture(content, LIMIT)
    (served,) = decode_images(tf.constant([found.content]), FORMAT).numpy()
    shown = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    assert np.abs(served - shown)[3:13, 3:13].max() <= 10


def test_a_colour_that_is_declared_transparent_is_laid_on_white() -> None:
    content = encoded(picture(), "PNG", transparency=(200, 40, 40))
    found = read_picture(content, LIMIT)
    (served,) = decode_images(tf.constant([found.content]), FORMAT).numpy()
    assert found.changes == ("laid on white",)
    assert served[:15, :15].min() == 255


@pytest.mark.parametrize(("brightest", "shown"), [(0, 0), (4096, 16), (65535, 255)])
def test_a_picture_of_16_bits_may_be_dark_or_black(brightest: int, shown: int) -> None:
    found = read_picture(grey_png(brightest), LIMIT)
    assert found.changes == ("8 bits",)
    assert np.asarray(found.image).max() == shown


@pytest.mark.parametrize("channels", [2, 4])
def test_a_shape_in_black_may_be_all_in_the_alpha_channel(channels: int) -> None:
    ink = np.zeros((EDGE, EDGE, channels), np.uint16)
    ink[3:9, 3:9, -1] = 65535
    found = read_picture(deep_png(ink), LIMIT)
    assert np.array_equal(np.asarray(found.image.convert("L")), 255 - ink[..., -1] // 257)


def test_grey_stays_grey() -> None:
    found = read_picture(encoded(picture().convert("L"), "TIFF"), LIMIT)
    assert Image.open(io.BytesIO(found.content)).mode == "L"


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "12 of 16 bits, grey": (
        lambda: encoded(
            Image.fromarray(np.asarray(picture().convert("L")).astype(np.uint16) * 16), "PNG"
        ),
        "16 bits a channel of which the upper four are empty",
    ),
    "12 of 16 bits, colour": (
        lambda: deep_png(wide() // 16),
        "16 bits a channel of which the upper four are empty",
    ),
    "12 of 16 bits, grey, overexposed": (
        lambda: grey_png(4095),
        "16 bits a channel of which the upper four are empty",
    ),
    "8 of 16 bits, grey and dark": (
        lambda: grey_png(100),
        "16 bits a channel of which the upper four are empty",
    ),
    "8 of 16 bits, colour": (
        lambda: deep_png(wide() // 257),
        "16 bits a channel of which the upper four are empty",
    ),
    "8 of 16 bits, colour and alpha": (
        lambda: deep_png(np.insert(wide() // 257, 3, 255, axis=2)),
        "16 bits a channel of which the upper four are empty",
    ),
    "animated GIF": (
        lambda: encoded(
            Image.new("L", (9, 9)),
            "GIF",
            save_all=True,
            append_images=[Image.new("L", (9, 9), 255)],
        ),
        "holds 2 pictures, frames or pages",
    ),
    "animated PNG": (
        lambda: encoded(
            picture(), "PNG", save_all=True, append_images=[Image.new("RGB", (EDGE, EDGE))]
        ),
        "holds 2 pictures, frames or pages",
    ),
    "pages of a TIFF": (
        lambda: encoded(picture(), "TIFF", save_all=True, append_images=[picture()]),
        "holds 2 pictures, frames or pages",
    ),
    "HEIC": (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "it is a HEIC picture"),
    "floating point": (
        lambda: encoded(Image.fromarray(np.zeros((9, 9), np.float32)), "TIFF"),
        "32 bits a pixel",
    ),
    "truncated JPEG": (lambda: encoded(picture(), "JPEG")[:-200], "damaged"),
    "truncated PNG": (lambda: encoded(picture(), "PNG")[:60], "damaged"),
    "text": (lambda: b"no picture", "not a picture in a known format"),
    "nothing": (lambda: b"", "not a picture in a known format"),
    "too many pixels": (lambda: encoded(Image.new("1", (5001, 5000)), "PNG"), "5001 x 5000 pixels"),
}


@pytest.mark.parametrize(("made", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_such_form_is_refused_by_name(made: Callable[[], bytes], reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason):
        read_picture(made(), LIMIT)


def test_a_picture_is_known_by_its_pixels_whatever_file_it_is_in() -> None:
    files = (encoded(picture(), kind, **options) for kind, options in (
        ("PNG", {}), ("PNG", {"compress_level": 0}), ("BMP", {}), ("WEBP", {"lossless": True}),
    ))  # fmt: skip
    assert len({pixel_digest(read_picture(file, LIMIT).image) for file in files}) == 1
    other = picture().transpose(Image.Transpose.ROTATE_90)
    assert pixel_digest(other) != pixel_digest(picture())
    flat = Image.new("RGB", (4, 2)), Image.new("RGB", (2, 4))
    assert pixel_digest(flat[0]) != pixel_digest(flat[1])
