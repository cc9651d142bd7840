"""Photos of clothes become pictures like the dataset's."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.idx import read_images
from data.photos import PreparedPhoto, UnreadableImageError, prepare

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "base"


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(photo: PreparedPhoto) -> np.ndarray:
    image = Image.open(io.BytesIO(photo.encoded))
    assert (image.size, image.mode) == ((28, 28), "L")
    return np.asarray(image).astype(int)


def on(background: object, garment: object, box: tuple[int, int, int, int]) -> Image.Image:
    """A photo of 400x300 pixels with a rectangle for a garment."""
    image = Image.new("RGB", (400, 300), background)
    image.paste(garment, box)
    return image


@pytest.mark.parametrize(
    ("background", "garment"),
    [
        ("white", "black"),
        ("white", (170, 30, 40)),
        ("white", (225, 225, 225)),
        ((236, 232, 225), "navy"),
        ("black", "white"),
        ("black", (90, 90, 90)),
        ((140, 140, 140), "white"),
        ((140, 140, 140), "black"),
    ],
)
def test_a_garment_is_light_on_black_whatever_its_and_the_backgrounds_colour(
    background: object, garment: object
) -> None:
    photo = prepare(encoded(on(background, garment, (250, 20, 300, 120)), "JPEG"))

    shown = pixels(photo)
    assert photo.plain_background
    # Twice as high as wide: it fills the height and stands in the middle.
    assert shown[1:-1, 9:19].min() > 100
    assert shown[:, :6].max() < 20
    assert shown[:, 22:].max() < 20


def test_pictures_of_the_dataset_are_left_as_they_are() -> None:
    for image in read_images(SAMPLE / "t10k-images-idx3-ubyte.gz")[:50]:
        photo = prepare(encoded(Image.fromarray(image)))
        assert not photo.changed
        np.testing.assert_array_equal(pixels(photo), image)


def test_the_cameras_orientation_is_obeyed() -> None:
    upright = on("white", "black", (100, 50, 300, 100))
    upright.paste("black", (100, 50, 150, 250))
    orientation = Image.Exif()
    orientation[0x0112] = 6  # turn clockwise to see it upright
    turned = upright.transpose(Image.Transpose.ROTATE_90)

    seen = pixels(prepare(encoded(turned, "JPEG", exif=orientation)))

    difference = np.abs(seen - pixels(prepare(encoded(upright, "JPEG"))))
    assert difference.mean() < 3


def test_what_is_transparent_is_background() -> None:
    image = Image.new("RGBA", (300, 300), (0, 0, 0, 0))
    image.paste((20, 20, 20, 255), (100, 0, 200, 200))
    shown = pixels(prepare(encoded(image)))
    assert shown[:, 10:18].min() > 200
    assert shown[:, :5].max() == 0


@pytest.mark.parametrize("size", [(1, 40), (40, 1), (2, 2), (28, 28), (5000, 30), (3000, 2000)])
def test_any_size_and_shape_is_taken(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, "white")
    image.paste("black", (0, 0, max(1, size[0] // 2), max(1, size[1] // 2)))
    assert pixels(prepare(encoded(image))).max() > 100


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "I;16"])
def test_any_colour_mode_is_taken(mode: str) -> None:
    grey = on("white", "black", (100, 20, 200, 220)).convert("L")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    else:
        image = grey.convert(mode) if mode != "CMYK" else grey.convert("RGB").convert(mode)
    shown = pixels(prepare(encoded(image, "TIFF")))
    assert shown[1:-1, 10:18].min() > 200
    assert shown[:, :4].max() < 10


def test_specks_of_dust_do_not_count_as_the_object() -> None:
    image = on("white", "black", (150, 50, 250, 250))
    image.paste("black", (5, 5, 8, 8))
    assert pixels(prepare(encoded(image)))[1:-1, 9:19].min() > 200


def test_a_background_that_is_not_plain_is_told() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    assert not prepare(encoded(Image.fromarray(noise))).plain_background


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no picture", "not a picture in a known format"),
        (encoded(on("white", "black", (0, 0, 9, 9)), "JPEG")[:700], "truncated"),
        (encoded(Image.new("RGB", (50, 50), "white")), "one colour throughout"),
    ],
)
def test_what_shows_nothing_is_refused_with_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason):
        prepare(content)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(UnreadableImageError, match="it has 12000 x 12000 pixels, more than 120"):
        prepare(bomb(12_000))


def test_formats_that_start_other_programs_are_not_tried() -> None:
    with pytest.raises(UnreadableImageError, match="not a picture in a known format"):
        prepare(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")


def bomb(edge: int) -> bytes:
    """A grey PNG of many pixels in few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", edge, edge, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((edge + 1) * edge), 1)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts
