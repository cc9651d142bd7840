"""Reads new labelled images, in any of three forms, and refuses what is not sound.

- A pair of IDX files: a folder with one image file and one label file, or the image file itself.
- A folder with one folder of pictures per class, named by the class or by its number. They stay as
  they are, but for what `data.picture` says.
- An .npz file with the arrays ``images`` and ``labels`` (or ``x`` and ``y``, or ``x_train`` and
  ``y_train``), and no others.

Every defect is found before anything is refused, and one defect refuses everything: nothing is
dropped silently.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile

from data import idx
from data.checked import Checked, File, Graph, Summary, check, summarise
from data.class_names import label_of
from data.folders import find, is_note, shown, visible
from data.refusal import DataRefused, FileProblem

_NPZ_NAMES = (("images", "labels"), ("x", "y"), ("x_train", "y_train"))


@dataclass(frozen=True)
class Labelled:
    """Images, uint8 [n, size, size], and their labels, uint8 [n]."""

    images: idx.Bytes
    labels: idx.Bytes


@dataclass(frozen=True)
class Pictures:
    """Pictures of every class, and what is to be said about them."""

    checked: list[Checked]
    summary: Summary


class UnknownForm(ValueError):
    """The path is none of the three forms."""


def read_arrays(path: Path, class_labels: Sequence[str], image_size: int) -> Labelled | None:
    """Reads a pair of IDX files or an .npz file; None: `path` is neither.

    Args:
        path: as the module describes.
        class_labels: names of the classes, the position being the label.
        image_size: height and width that every image must have.

    Raises:
        DataRefused: one sentence for every file or array that is not sound.
    """
    if path.is_file() and path.suffix == ".npz":
        found = _read_npz(path)
    elif pair := _find_pair(path):
        found = _read_pair(*pair)
    else:
        return None
    _check(path, found, len(class_labels), image_size)
    return found


def read_pictures(
    path: Path,
    class_labels: Sequence[str],
    graph: Graph,
    max_pixels: int,
    allow_duplicates: bool = False,
    progress: Callable[[int], Callable[[int], None]] = lambda total: lambda count: None,
) -> Pictures:
    """Reads a folder with a folder of pictures for each class.

    Args:
        path: the folder.
        class_labels: names of the classes, the position being the label.
        graph: what the model's own graph makes of a picture.
        max_pixels: the largest product of width and height.
        allow_duplicates: whether a picture may be in two classes.
        progress: is told how many files there are, and returns what counts them.

    Raises:
        UnknownForm: there is nothing at `path`, or nothing that looks like one of the forms.
        DataRefused: every file that is not sound, or is in two classes.
    """
    if not path.is_dir() or not any(visible(path)):
        raise UnknownForm(
            f"{path} is neither a pair of IDX files, nor a folder with a folder of PNG or JPEG "
            f"files per class, nor TFRecord files, nor an .npz file"
        )
    found = find(path)
    problems = list(found.problems)
    files: list[File] = []
    for name, paths in found.classes.items():
        label = label_of(name, class_labels)
        if label is None:
            problems.append(FileProblem(shown(path / name), "no class has this name"))
        else:
            files += [File(file, label) for file in paths]
    checked, unsound = check(files, graph, max_pixels, progress(len(files)))
    summary, twice = summarise(checked, class_labels, found.ignored)
    if allow_duplicates:
        summary.clashes, twice = len(twice), []
    if reasons := [*problems, *unsound, *twice]:
        raise DataRefused(reasons)
    if not checked:
        raise DataRefused([f"{path}: holds no images"])
    return Pictures(checked, summary)


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
    present = visible(path)
    images = [file for file in present if "images-idx3-ubyte" in file.name]
    labels = [file for file in present if "labels-idx1-ubyte" in file.name]
    if not images and not labels:
        return None
    others = [
        FileProblem(shown(file), "it lies beside IDX files")
        for file in present
        if file not in (*images, *labels) and not is_note(file)
    ]
    if others:
        raise DataRefused(others)
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
        images, labels = _npz_arrays(path)
    except DataRefused:
        raise
    except MemoryError as error:
        raise DataRefused([f"{path}: needs more memory than there is"]) from error
    except Exception as error:
        # NumPy and what unpacks for it raise nearly anything on a damaged or an unusual member.
        why = str(error) or type(error).__name__
        raise DataRefused([f"{path}: not a readable .npz file ({why})"]) from error
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


def _npz_arrays(path: Path) -> Iterator[npt.NDArray[np.generic]]:
    file = np.load(path, allow_pickle=False)
    if not isinstance(file, NpzFile):
        raise ValueError("it is one array without a name")
    with file:
        names = next((two for two in _NPZ_NAMES if set(two) <= set(file.files)), None)
        if names is None:
            held = ", ".join(file.files) or "nothing"
            raise DataRefused([f"{path}: expected arrays images and labels, found {held}"])
        # A name may be there twice, of which NumPy shows one.
        if others := sorted((Counter(file.files) - Counter(names)).elements()):
            raise DataRefused(
                [
                    f"{path}: holds {', '.join(others)} beside {' and '.join(names)}; a span "
                    "is one set of images, so save what is to be taken in alone"
                ]
            )
        for name in names:
            array = file[name]
            if not isinstance(array, np.ndarray):
                raise ValueError(f"{name} is no array")
            yield array


def _not_bytes(what: str, array: npt.NDArray[np.generic], dimensions: int) -> Iterator[str]:
    if array.ndim != dimensions:
        yield f"{what} have the shape {array.shape}, expected {dimensions} dimensions"
    # NumPy counts spans of time among the integers.
    if array.dtype.kind not in "iu":
        yield f"{what} are {array.dtype}, expected integers from 0 to 255"
    elif array.size and (array.min() < 0 or array.max() > 255):
        yield f"{what} range from {array.min()} to {array.max()}, expected 0 to 255"
