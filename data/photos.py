"""Photos of clothes made into what a Fashion-MNIST model was trained on.

The dataset shows a light garment on black, 28x28, grey, centred, its longest edge filling the
picture. Its authors made that of product photos on white: trim what is close to the corners'
colour, shrink the longest edge to 28, sharpen, centre, negate, grey. The same is done here, for
backgrounds of any plain colour.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from data.picture import UnreadableImageError, read_picture, read_reduced

SIZE = 28

# Phones take pictures of 108 megapixels.
_MAX_PIXELS = 120_000_000

# More detail than this only costs time: the result has 28 pixels.
_WORKING_EDGE = 560
# The authors take colours within 5 % for the background; JPEG's noise and soft shadows need more.
_BACKGROUND_DISTANCE = 0.08 * 255
_PLAIN_SHARE = 0.7
_BORDER_SHARE = 0.02
# A row or column with less of the object than this has specks of dust.
_SPECK_SHARE = 0.01
_DARK = 64
_CUT_OUT = "What the model was shown: light on black, cut out, 28 by 28 pixels."
_NOT_CUT_OUT = (
    "What the model was shown. The background is not of one colour, so nothing was cut out: "
    "do not expect much."
)
# What is faint against its background is made brighter by no more than this.
_LARGEST_GAIN = 4.0


@dataclass(frozen=True)
class PreparedPhoto:
    """What a photo became.

    Attributes:
        encoded: PNG or JPEG. Of clothes: 28x28 grey pixels, a light object on black.
        changed: whether anything was done; pictures that look like the dataset's are left alone.
        plain_background: whether the object could be told from what is around it. Otherwise the
            whole photo was shrunk, and an answer about it is worth little.
        note: what it is, in a sentence for whoever sees it.
    """

    encoded: bytes
    changed: bool
    plain_background: bool
    note: str


def as_it_is(content: bytes, max_pixels: int) -> PreparedPhoto:
    """Sends a photo as it would be trained on: upright, and else as it is.

    Raises:
        UnreadableImageError: it could not be trained on either.
    """
    picture = read_picture(content, max_pixels)
    changes = f", {', '.join(picture.changes)}" if picture.changes else ""
    note = f"What the model was sent{changes}."
    return PreparedPhoto(picture.content, bool(picture.changes), plain_background=True, note=note)


def prepare(content: bytes, size: int = SIZE) -> PreparedPhoto:
    """Makes a photo of one garment into a picture like the dataset's.

    Args:
        content: a picture of any size, colour and format, as `data.picture` reads it.
        size: edge of the result in pixels.

    Raises:
        UnreadableImageError: the content is not such a picture, or nothing is on it.
    """
    image = read_reduced(content, _MAX_PIXELS, _WORKING_EDGE)
    pixels = np.asarray(image, np.float32)
    border = _border(pixels)
    background = np.median(border, axis=0)
    if image.size == (size, size) and background.max() < _DARK:
        grey_png = _png(image.convert("L"))
        return PreparedPhoto(grey_png, changed=False, plain_background=True, note=_CUT_OUT)
    mask = _distance(pixels, background) >= _BACKGROUND_DISTANCE
    if not mask.any():
        raise UnreadableImageError("it is of one colour throughout")
    plain = bool((_distance(border, background) < _BACKGROUND_DISTANCE).mean() >= _PLAIN_SHARE)
    box = _bounding_box(mask) if plain else (0, 0, image.width, image.height)
    grey = np.asarray(image.convert("L"), np.float32)
    light = _as_light_on_black(grey, mask if plain else None, background)
    garment = Image.fromarray(light.astype(np.uint8)).crop(box)
    note = _CUT_OUT if plain else _NOT_CUT_OUT
    centred = _png(_centred(garment, size))
    return PreparedPhoto(centred, changed=True, plain_background=plain, note=note)


def _border(pixels: np.ndarray) -> np.ndarray:
    """Returns the pixels [n, 3] along the four edges."""
    width = max(1, round(_BORDER_SHARE * min(pixels.shape[:2])))
    strips = (pixels[:width], pixels[-width:], pixels[:, :width], pixels[:, -width:])
    return np.concatenate([strip.reshape(-1, 3) for strip in strips])


def _distance(pixels: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Returns how far colours are from one, 0 to 255."""
    distance: np.ndarray = np.sqrt(np.square(pixels - colour).mean(axis=-1))
    return distance


def _bounding_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Returns left, top, right and bottom of an object; of everything when there is none."""
    height, width = mask.shape
    columns = np.flatnonzero(mask.sum(axis=0) > _SPECK_SHARE * height)
    rows = np.flatnonzero(mask.sum(axis=1) > _SPECK_SHARE * width)
    if not columns.size or not rows.size:
        return 0, 0, width, height
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _as_light_on_black(
    grey: np.ndarray, mask: np.ndarray | None, background: np.ndarray
) -> np.ndarray:
    """Returns how much each pixel differs from the background, the strongest 255.

    Most of the object decides whether being darker or being lighter counts; without a mask of the
    object, a light background is taken for paper and a dark one for the dataset's black.
    """
    level = float(background @ np.array([0.299, 0.587, 0.114]))
    darker = level > 127 if mask is None else grey[mask].mean() < level
    light = np.clip(level - grey if darker else grey - level, 0, None)
    if mask is not None:
        light = np.where(mask, light, 0)
    strongest = max(float(np.percentile(light, 99.5)), 255 / _LARGEST_GAIN)
    return np.clip(light * (255 / strongest), 0, 255)


def _centred(garment: Image.Image, size: int) -> Image.Image:
    scale = size / max(garment.size)
    width, height = (max(1, round(edge * scale)) for edge in garment.size)
    small = garment.resize((width, height), Image.Resampling.LANCZOS)
    small = small.filter(ImageFilter.UnsharpMask(radius=1, percent=50, threshold=0))
    canvas = Image.new("L", (size, size), 0)
    canvas.paste(small, ((size - width) // 2, (size - height) // 2))
    return canvas


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
