"""Finds the same picture in two places: by its pixels, and nearly the same by a perceptual hash.

A perceptual hash sees shapes and no colours, so two pictures that it takes for one are compared
once more, small and in colour.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

# A hash of 64 bits is looked up by each of its quarters: two that differ in few bits share one.
_QUARTERS = 4
_MOST_BITS = 6
_SMALL_EDGE = 16
# Of what a picture shows against its commonest colour: what saving as JPEG or scaling changes.
_LARGEST_DIFFERENCE = 0.12
# A picture of nearly one colour has no shapes to be told by.
_LEAST_CONTRAST = 4.0
# So many share a quarter of their hash only when it says nothing.
_MOST_ALIKE = 500


@dataclass(frozen=True)
class Likeness:
    """What pictures are compared by.

    Attributes:
        digest: of the pixels.
        shapes: a perceptual hash, four numbers of 16 bits; None: nothing to be seen.
        small: the picture of 16x16 pixels, uint8 [16, 16, 3].
    """

    digest: int
    shapes: tuple[int, ...] | None
    small: npt.NDArray[np.uint8]


def likeness(image: Image.Image, digest: int) -> Likeness:
    """Computes what a picture is compared by."""
    small = np.asarray(
        image.convert("RGB").resize((_SMALL_EDGE, _SMALL_EDGE), Image.Resampling.BOX)
    )
    if small.std(axis=(0, 1)).max() < _LEAST_CONTRAST:
        return Likeness(digest, None, small)
    bits = np.packbits(imagehash.phash(image).hash.ravel())
    return Likeness(digest, tuple(bits.view(">u2").tolist()), small)


def clashes(
    pictures: Sequence[Likeness], side: Callable[[int], Hashable]
) -> Iterator[tuple[int, int, bool]]:
    """Yields pictures that are the same or nearly, and lie on two sides.

    Args:
        pictures: all of them.
        side: of the picture at a position: those of one side may be alike.

    Yields:
        Two positions, the first the smaller, and whether the pixels are equal.
    """
    same: dict[int, list[int]] = defaultdict(list)
    for place, picture in enumerate(pictures):
        for other in same[picture.digest]:
            if side(other) != side(place):
                yield other, place, True
                break
        same[picture.digest].append(place)
    seen: set[tuple[int, int]] = set()
    for quarter in range(_QUARTERS):
        for one, other in _sharing(pictures, quarter):
            if (one, other) in seen or side(one) == side(other):
                continue
            seen.add((one, other))
            if pictures[one].digest != pictures[other].digest and _near(
                pictures[one], pictures[other]
            ):
                yield one, other, False


def copies(pictures: Sequence[Likeness], side: Callable[[int], Hashable]) -> int:
    """How many pictures are the same as an earlier one of their side."""
    return len(pictures) - len({(side(n), picture.digest) for n, picture in enumerate(pictures)})


def _sharing(pictures: Sequence[Likeness], quarter: int) -> Iterator[tuple[int, int]]:
    by_quarter: dict[int, list[int]] = defaultdict(list)
    for place, picture in enumerate(pictures):
        if picture.shapes is not None:
            by_quarter[picture.shapes[quarter]].append(place)
    for places in by_quarter.values():
        for number, other in enumerate(places[:_MOST_ALIKE]):
            for one in places[:number]:
                yield one, other


def _near(one: Likeness, other: Likeness) -> bool:
    if one.shapes is None or other.shapes is None:
        return False
    bits = sum((a ^ b).bit_count() for a, b in zip(one.shapes, other.shapes, strict=True))
    if bits > _MOST_BITS:
        return False
    small = one.small.astype(np.int16)
    content = np.abs(small - np.median(small, axis=(0, 1))).mean()
    return bool(np.abs(small - other.small).mean() < _LARGEST_DIFFERENCE * content)
