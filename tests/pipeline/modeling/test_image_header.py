"""What is too large, or neither PNG nor JPEG, is refused by its header, before it is decoded."""

import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipeline.modeling.image_header import refuse_unsuitable
from pipeline.modeling.preprocessing import decode_images

LIMIT = 60 * 40
SOI, END = b"\xff\xd8", b"\xff\xd9"


def encoded(image_format: str, width: int = 60, height: int = 40, **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, image_format, **options)
    return buffer.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def behind_soi(inserted: bytes, jpeg: bytes) -> bytes:
    return SOI + inserted + jpeg[len(SOI) :]


def grey_png(width: int, height: int) -> bytes:
    """A black PNG, its rows compressed one by one: 20,000 x 20,000 are 388 KB."""
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(b"\0" * (width + 1)) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def refusal(*images: bytes, max_pixels: int = LIMIT) -> str:
    """The sentence that the images are refused with; empty when they are not."""
    check = tf.function(refuse_unsuitable).get_concrete_function(
        tf.TensorSpec([None], tf.string), max_pixels
    )
    try:
        passed = check(tf.constant(list(images), tf.string))
    except tf.errors.InvalidArgumentError as error:
        found = re.search(r"assertion failed: \[(.*?)\]", error.message)
        return found[1] if found else error.message
    assert passed.numpy().tolist() == list(images)
    return ""


SUITABLE = {
    "PNG": encoded("PNG"),
    "JPEG": encoded("JPEG"),
    "progressive JPEG": encoded("JPEG", progressive=True),
    "JPEG with restart markers": encoded("JPEG", restart_marker_blocks=1),
    "JPEG with a large EXIF segment": encoded("JPEG", exif=b"Exif\0\0" + b"\xff\xc0" * 30_000),
    "JPEG with 200 segments of 64 KB": behind_soi(
        segment(0xE2, b"\xff\xc0\x00\x11\x08" * 13_000) * 200, encoded("JPEG")
    ),
    "JPEG with fill bytes": behind_soi(b"\xff" * 100, encoded("JPEG")),
}


@pytest.mark.parametrize("image", SUITABLE.values(), ids=SUITABLE)
def test_an_image_of_the_largest_size_passes_and_one_pixel_less_refuses_it(image: bytes) -> None:
    assert refusal(image) == ""
    assert refusal(image, max_pixels=LIMIT - 1) == (
        "image 0 has 60 x 40 pixels, at most 2399 pixels are accepted (serving.max_pixels)"
    )


@pytest.mark.parametrize("progressive", [False, True])
def test_the_size_of_a_thumbnail_is_not_that_of_the_image(progressive: bool) -> None:
    small, large = encoded("JPEG", 16, 8), encoded("JPEG", 160, 80, progressive=progressive)
    assert "has 160 x 80 pixels" in refusal(behind_soi(segment(0xE1, b"Exif\0\0" + small), large))
    assert refusal(behind_soi(segment(0xE1, b"Exif\0\0" + large), small)) == ""


def test_every_image_of_a_request_is_looked_at() -> None:
    png, jpeg = SUITABLE["PNG"], SUITABLE["JPEG"]
    assert refusal() == ""
    assert refusal(png, jpeg, png, jpeg) == ""
    assert refusal(png, jpeg, encoded("JPEG", 61)).startswith("image 2 has 61 x 40 pixels")
    assert refusal(png, encoded("PNG", 60, 41), jpeg).startswith("image 1 has 60 x 41 pixels")


@pytest.mark.parametrize("name", ["GIF", "BMP", "WebP"])
def test_other_formats_are_refused_by_name(name: str) -> None:
    assert refusal(encoded(name)) == f"image 0 is a {name}, only PNG and JPEG are accepted"


def test_what_the_decoder_would_misread_is_refused_by_name() -> None:
    deep = Image.fromarray(np.full((40, 60), 4000, np.uint16))
    buffer = io.BytesIO()
    deep.save(buffer, "PNG")
    assert refusal(SUITABLE["PNG"], buffer.getvalue()) == (
        "image 1 is a PNG of 16 bits a channel, only 8 are accepted"
    )
    buffer = io.BytesIO()
    Image.new("CMYK", (60, 40)).save(buffer, "JPEG")
    assert refusal(buffer.getvalue()) == (
        "image 0 is a JPEG of CMYK colours, only grey and RGB are accepted"
    )


def test_heic_and_tiff_are_named_too() -> None:
    assert refusal(b"\0\0\0\x18ftypheic\0\0") == (
        "image 0 is a HEIC, only PNG and JPEG are accepted"
    )
    assert refusal(encoded("TIFF")) == "image 0 is a TIFF, only PNG and JPEG are accepted"


@pytest.mark.parametrize("content", [b"", b"B", b"\xff\xd8", b"no image", b"\0" * 100])
def test_what_is_no_image_is_refused(content: bytes) -> None:
    assert refusal(content) == "image 0 is neither PNG nor JPEG"


@pytest.mark.parametrize("length", [8, 11, 15])
def test_a_png_without_its_header_is_refused(length: int) -> None:
    assert refusal(SUITABLE["PNG"][:length]) == "image 0 is a PNG without its header"


def test_a_png_whose_header_comes_late_is_refused() -> None:
    # libpng passes over an unknown chunk, and then reads a header that nobody has looked at.
    png = SUITABLE["PNG"]
    early = struct.pack(">I", 13) + b"abCd" + b"\0" * 17
    assert refusal(png[:8] + early + png[8:]) == "image 0 is a PNG without its header"


@pytest.mark.parametrize("size", [(0, 50), (70, 0)])
def test_an_image_without_an_extent_is_refused(size: tuple[int, int]) -> None:
    assert refusal(grey_png(*size)) == "image 0 has no width and height in its header"


@pytest.mark.parametrize("size", [(2**32 - 1, 2**32 - 1), (2**31, 2**31 + 1), (2**32 - 1, 1)])
def test_a_size_that_no_integer_holds_is_too_large(size: tuple[int, int]) -> None:
    header = struct.pack(">II", *size)
    assert f"has {size[0]} x {size[1]} pixels" in refusal(
        SUITABLE["PNG"][:16] + header + SUITABLE["PNG"][24:]
    )


def test_a_jpeg_that_ends_before_its_frame_header_is_refused() -> None:
    jpeg = SUITABLE["JPEG"]
    frame = jpeg.index(b"\xff\xc0\x00\x11")
    for length in (3, 4, 20, frame, frame + 1, frame + 9):
        assert refusal(jpeg[:length]) == "image 0 has no width and height in its header"
    assert refusal(jpeg[: frame + 10]) == ""


@pytest.mark.parametrize(
    "endless", [segment(0xFE, b""), b"\xff\xd0", b"\xff\xfe\0\0", b"\xff", b"\0"]
)
def test_a_jpeg_of_nothing_but_segments_is_given_up(endless: bytes) -> None:
    jpeg = behind_soi(segment(0xFE, b"") + endless * 1_000_000, SUITABLE["JPEG"])
    assert refusal(jpeg) == "image 0 has no width and height in its header"


def test_a_picture_of_400_megapixels_costs_no_memory() -> None:
    png = grey_png(20_000, 20_000)
    assert len(png) < 400_000
    decode_images(tf.constant([SUITABLE["PNG"]]))
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is resident now
    before = peak_megabytes()
    with pytest.raises(tf.errors.InvalidArgumentError, match="20000 x 20000 pixels"):
        decode_images(tf.constant([png]))
    assert peak_megabytes() - before < 20


def peak_megabytes() -> float:
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1000
