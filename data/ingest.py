"""Reads new labelled images, in any of three forms, and refuses what is not sound.

- A pair of IDX files: a folder with one image file and one label file, or the image file itself.
- A folder with one folder of PNG or JPEG files per class, named by the class or by its number.
- An .npz file with the arrays ``images`` and ``labels`` (or ``x`` and ``y``, or ``x_train`` and
  ``y_train``).

Every defect is found before anything is refused, and one defect refuses everything: nothing is
dropped silently. Hidden files, which operating systems leave in folders, are not images.
"""

import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from data import idx
from data.refusal import DataRefused

_NPZ_NAMES = (("images", "labels"), ("x", "y"), ("x_train", "y_train"))
_SUFFIXES = (".png", ".jpg", ".jpeg")
_FORMATS = ("PNG", "JPEG")
# Turns the bytes of a PNG or JPEG into grey pixels, uint8 [size, size]; ValueError: it is damaged.
Decode = Callable[[bytes], idx.Bytes]

# Grey and colour; transparency or 16 bits would need a decision that is not this module's.
_MODES = ("1", "L", "P", "RGB")


@dataclass(frozen=True)
class Labelled:
    """Images, uint8 [n, size, size], and their labels, uint8 [n]."""

    images: idx.Bytes
    labels: idx.Bytes


class UnknownForm(ValueError):
    """The path is none of the three forms."""


def read(
    path: Path, class_labels: Sequence[str], image_size: int, decode: Decode | None = None
) -> Labelled:
    """Reads the labelled images at `path`.

    Args:
        path: a pair, a folder of folders, or an .npz file, as the module describes.
        class_labels: names of the classes, the position being the label.
        image_size: height and width that every image must have.
        decode: makes files of any size and colour fit; without it they must be of `image_size`.

    Raises:
        UnknownForm: there is nothing at `path`, or nothing that looks like one of the forms.
        DataRefused: one sentence for every file or array that is not sound.
    """
    if path.is_file() and path.suffix == ".npz":
        found = _read_npz(path)
    elif pair := _find_pair(path):
        found = _read_pair(*pair)
    elif path.is_dir() and any(visible(path)):
        found = _read_folders(path, class_labels, image_size, decode)
    else:
        raise UnknownForm(
            f"{path} is neither a pair of IDX files, nor a folder with a folder of PNG or JPEG "
            f"files per class, nor an .npz file"
        )
    _check(path, found, len(class_labels), image_size)
    return found


def _check(path: Path, found: Labelled, class_count: int, image_size: int) -> None:
    images, labels = found.images, found.labels
    reasons = []
    if images.shape[1:] != (image_size, image_size):
        shape = "x".join(map(str, images.shape[1:]))
        reasons.append(f"{path}: images are {shape}, expected {image_size}x{image_size}")
    if len(images) != len(labels):
        reasons.append(f"{path}: {len(images)} images and {len(labels)} labels")
    if not len(images):
        reasons.append(f"{path}: holds no images")
    reasons += [
        f"{path}: label {labels[place]} of image {place} is not in 0 to {class_count - 1}"
        for place in np.flatnonzero(labels >= class_count)
    ]
    if reasons:
        raise DataRefused(reasons)


def _find_pair(path: Path) -> tuple[Path, Path] | None:
    if path.is_file() and "images-idx3" in path.name:
        return path, path.with_name(path.name.replace("images-idx3", "labels-idx1"))
    if not path.is_dir():
        return None
    images = sorted(path.glob("*images-idx3-ubyte*"))
    labels = sorted(path.glob("*labels-idx1-ubyte*"))
    if not images and not labels:
        return None
    if len(images) != 1 or len(labels) != 1:
        names = ", ".join(file.name for file in (*images, *labels))
        raise DataRefused([f"{path}: expected one image and one label file, found {names}"])
    return images[0], labels[0]


def _read_pair(images: Path, labels: Path) -> Labelled:
    arrays, reasons = [], []
    for read_file, file in ((idx.read_images, images), (idx.read_labels, labels)):
        try:
            arrays.append(read_file(file))
        except idx.IdxError as error:
            reasons.append(str(error))
    if reasons:
        raise DataRefused(reasons)
    return Labelled(*arrays)


def _read_npz(path: Path) -> Labelled:
    try:
        with np.load(path, allow_pickle=False) as file:
            for names in _NPZ_NAMES:
                if all(name in file for name in names):
                    images, labels = (file[name] for name in names)
                    break
            else:
                held = ", ".join(file.files) or "nothing"
                raise DataRefused([f"{path}: expected arrays images and labels, found {held}"])
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataRefused([f"{path}: not a readable .npz file ({error})"]) from error
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if labels.ndim == 2 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    reasons = [
        *_not_bytes(f"{path}: images", images, dimensions=3),
        *_not_bytes(f"{path}: labels", labels, dimensions=1),
    ]
    if reasons:
        raise DataRefused(reasons)
    return Labelled(images.astype(np.uint8), labels.astype(np.uint8))


def _not_bytes(what: str, array: npt.NDArray[np.generic], dimensions: int) -> Iterator[str]:
    if array.ndim != dimensions:
        yield f"{what} have the shape {array.shape}, expected {dimensions} dimensions"
    if not np.issubdtype(array.dtype, np.integer):
        yield f"{what} are {array.dtype}, expected integers from 0 to 255"
    elif array.size and (array.min() < 0 or array.max() > 255):
        yield f"{what} range from {array.min()} to {array.max()}, expected 0 to 255"


def _read_folders(
    path: Path, class_labels: Sequence[str], image_size: int, decode: Decode | None
) -> Labelled:
    label_of = {str(label): label for label in range(len(class_labels))}
    label_of |= {plain(name): label for label, name in enumerate(class_labels)}
    images: list[idx.Bytes] = []
    labels: list[int] = []
    reasons: list[str] = []
    for folder in visible(path):
        label = label_of.get(plain(folder.name))
        if not folder.is_dir():
            reasons.append(f"{folder}: not in a folder of a class")
        elif label is None:
            reasons.append(f"{folder}: no class has this name")
        else:
            for file in visible(folder):
                try:
                    images.append(_read_image(file, image_size, decode))
                    labels.append(label)
                except ValueError as error:
                    reasons.append(f"{file}: {error}")
    if reasons:
        raise DataRefused(reasons)
    if not images:
        raise DataRefused([f"{path}: holds no images"])
    return Labelled(np.stack(images), np.array(labels, np.uint8))


def _read_image(file: Path, image_size: int, decode: Decode | None) -> idx.Bytes:
    """Decodes a PNG or JPEG to grey, uint8 [size, size]; ValueError says what is wrong with it."""
    if not file.is_file() or file.suffix.lower() not in _SUFFIXES:
        raise ValueError("neither a PNG nor a JPEG file")
    if decode:
        return decode(file.read_bytes())
    try:
        with Image.open(file, formats=_FORMATS) as image:
            if image.size != (image_size, image_size):
                width, height = image.size
                raise ValueError(f"is {width}x{height}, expected {image_size}x{image_size}")
            if image.mode not in _MODES or "transparency" in image.info:
                raise ValueError("has transparency or an unusual depth, expected grey or RGB")
            return np.asarray(image.convert("L"))
    except UnidentifiedImageError as error:
        raise ValueError("its content is neither PNG nor JPEG") from error
    except (OSError, SyntaxError) as error:
        raise ValueError(f"damaged ({error})") from error


def visible(folder: Path) -> list[Path]:
    """What a person sees in a folder, in the order of names."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def plain(name: str) -> str:
    """Letters and digits only, so that ``T-shirt_top`` is T-shirt/top and 7 is 7."""
    return re.sub(r"[\W_]", "", name.casefold())
