"""What a picture file means: decided here, for training, serving, `predict` and the page alike.

The graph of a served model reads PNG and JPEG, and lays what is transparent on white. It cannot see
which way up a camera was held, and it refuses what its decoders would read otherwise than people
see it. So a picture is brought into a form that means the same everywhere, before it is trained on
and before a client of this project sends it; what has no such form is refused, by name.

| what | becomes |
|---|---|
| PNG of up to 8 bits, any colour type; JPEG, progressive too | stays as it is, byte for byte |
| an orientation that a camera noted | is turned |
| CMYK | RGB |
| 16 bits a channel | the upper 8, unless these hold nearly nothing |
| WebP, AVIF, BMP, GIF, TIFF, PPM of one picture | PNG |
| several frames or pages, HEIC, 32 bits, too many pixels, damaged | is refused |
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

# Pillow knows many more, of which some start other programs (EPS) and none is what people have.
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# An MPO is a JPEG with a further picture behind it, which no other program shows.
_READ_BY_THE_GRAPH = ("PNG", "JPEG", "MPO")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_ORIENTATION = 0x0112
_WIDE_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
# Of 65536: what 12 bits of data, or 8, stay below.
_NEARLY_NOTHING = 4096
# Hardly to be told from the original; a PNG of a photo would be ten times as large.
_JPEG_QUALITY = 95


class UnreadableImageError(ValueError):
    """The bytes are no picture that means the same everywhere; says why, without naming a file."""


class TooManyPixelsError(UnreadableImageError):
    """A sound picture that is larger than the limit, which may be the one that is wrong."""


@dataclass(frozen=True)
class Picture:
    """A picture that means the same everywhere.

    Attributes:
        content: PNG or JPEG, as it is trained on and sent.
        image: what it shows: upright, on white, in mode L or RGB.
        changes: what was done to the file's own bytes, in a word each; empty: nothing.
    """

    content: bytes
    image: Image.Image
    changes: tuple[str, ...]


def read_picture(content: bytes, max_pixels: int) -> Picture:
    """Brings a picture file into a form that means the same everywhere.

    Args:
        content: the file.
        max_pixels: the largest product of width and height.

    Raises:
        UnreadableImageError: there is no such form.
    """
    with _refusals():
        opened = _opened(content, max_pixels)
        file_format = opened.format
        image, changes = _shown(opened, content)
        if file_format not in _READ_BY_THE_GRAPH:
            changes = (f"{file_format} made PNG", *changes)
        if not changes:
            return Picture(content, image, ())
        return Picture(_encoded(image, file_format), image, changes)


def read_reduced(content: bytes, max_pixels: int, edge: int) -> Image.Image:
    """What a picture shows, shrunk to `edge` where that saves time; arguments else as above."""
    with _refusals():
        opened = _opened(content, max_pixels)
        # JPEG can be decoded at a fraction of its size.
        opened.draft("RGB", (edge, edge))
        image = _shown(opened, content)[0].convert("RGB")
    image.thumbnail((edge, edge), Image.Resampling.BOX)
    return image


def pixel_digest(image: Image.Image) -> int:
    """A 64-bit BLAKE2b hash of what a picture shows, whatever file it came from."""
    shown = image.convert("RGB")
    extent = struct.pack(">II", *shown.size)
    digest = hashlib.blake2b(extent + shown.tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


@contextmanager
def _refusals() -> Iterator[None]:
    """Makes of whatever Pillow raises one sentence."""
    try:
        with warnings.catch_warnings():
            # The limit is this module's own.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    except UnreadableImageError:
        raise
    except Image.UnidentifiedImageError:
        raise UnreadableImageError("it is not a picture in a known format") from None
    except Image.DecompressionBombError:
        raise UnreadableImageError("it has far too many pixels") from None
    except MemoryError:
        raise UnreadableImageError("it needs more memory than there is") from None
    except Exception as error:
        # Pillow's readers raise nearly anything on damaged files.
        raise UnreadableImageError(f"it is damaged ({error or type(error).__name__})") from error


def _opened(content: bytes, max_pixels: int) -> Image.Image:
    if content[4:8] == b"ftyp" and content[8:12] in _HEIC_BRANDS:
        raise UnreadableImageError(
            "it is a HEIC picture, which nothing here reads: save it as JPEG"
        )
    image: Image.Image = Image.open(io.BytesIO(content), formats=_FORMATS)
    width, height = image.size
    if width * height > max_pixels:
        raise TooManyPixelsError(
            f"it has {width} x {height} pixels, more than {max_pixels:,} (serving.max_pixels)"
        )
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise UnreadableImageError(
            f"it holds {getattr(image, 'n_frames', 2)} pictures, frames or pages: "
            "save the one that is meant"
        )
    return image


def _shown(image: Image.Image, content: bytes) -> tuple[Image.Image, tuple[str, ...]]:
    """Returns the picture as people see it, and what the graph cannot do itself."""
    changes = []
    image.load()
    if image.getexif().get(_ORIENTATION, 1) in range(2, 9):
        image = ImageOps.exif_transpose(image)
        changes.append("turned")
    if image.mode.startswith(("I", "F")) or _is_wide_png(content):
        image = _eight_bits(image)
        changes.append("8 bits")
    if image.mode == "CMYK":
        changes.append("CMYK made RGB")
    if image.mode in ("1", "L", "RGB") and "transparency" in image.info:
        # One colour is declared transparent: the graph's decoder passes over that.
        changes.append("laid on white")
    return on_white(image), tuple(changes)


def on_white(image: Image.Image) -> Image.Image:
    """Returns a picture on white paper, where anything of it is transparent: grey or RGB."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _is_wide_png(content: bytes) -> bool:
    return content.startswith(b"\x89PNG") and content[24:25] == b"\x10"


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode in _WIDE_MODES or image.mode == "I":
        values = np.asarray(image, np.int64)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise UnreadableImageError("it has 32 bits a pixel: save it with 8 or 16")
        image = Image.fromarray((values / 257).round().astype(np.uint8))
        is_dark = 0 < values.max(initial=0) < _NEARLY_NOTHING
    elif image.mode == "F":
        raise UnreadableImageError("it has 32 bits a pixel: save it with 8 or 16")
    else:
        # Pillow has kept the upper half of what it knows no wider mode for, and what was in the
        # lower one cannot be told from black. A shape may be all in the alpha channel, in black.
        is_dark = any(
            np.asarray(each).max(initial=0) < _NEARLY_NOTHING >> 8
            for each in (image, on_white(image))
        )
    if is_dark:
        raise UnreadableImageError(
            "it has 16 bits a channel of which the upper four are empty, so that it would be black:"
            " scale its values to 0 to 65535, or save it with 8 bits"
        )
    return image


def _encoded(image: Image.Image, file_format: str | None) -> bytes:
    buffer = io.BytesIO()
    if file_format in ("JPEG", "MPO"):
        image.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    else:
        image.save(buffer, "PNG")
    return buffer.getvalue()
