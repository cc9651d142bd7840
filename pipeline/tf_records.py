"""TFRecord files of tf.Examples as what they stand for: a folder of pictures per class.

An example has a picture, PNG or JPEG, in `image`, and its class in `label`, a number or a name: so
does what TFX and TensorFlow Datasets write. The features of TF-Slim (`image/encoded`,
`image/class/text`, `image/class/label`) are known as well; others are passed over.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data.class_names import same_name
from data.folders import is_left_behind, is_note, safe_name, shown
from data.refusal import DataRefused, FileProblem

_RECORDS = re.compile(r"tfrecords?(-\d+-of-\d+)?(\.gz)?$", re.IGNORECASE)
_PICTURE = ("image", "image/encoded")
_CLASS = ("label", "image/class/text", "image/class/label")
_JPEG = b"\xff\xd8\xff"
_PARTS = ["test", "train"]
_WHERE = "they are to lie in one folder, or in train and test; or name one of these"


@contextmanager
def as_folder(path: Path) -> Iterator[Path]:
    """Yields `path`; if it is TFRecord files, a folder with their pictures, there for the block.

    The files lie in one folder, or in `train/` and `test/`, which stay. A picture is called like
    its file and the number of its record. What the block raises names `path`.

    Raises:
        DataRefused: files or records that cannot be read, or other files beside the records.
    """
    records, others = _records(path)
    if not records:
        yield path
        return
    problems = [FileProblem(shown(file), "it lies beside TFRecord files") for file in others]
    folders = sorted({file.parent for file in records})
    if len(folders) > 1 and sorted(folder.name.casefold() for folder in folders) != _PARTS:
        names = ", ".join(map(shown, folders))
        problems.append(FileProblem(shown(path), f"has TFRecord files in {names}: {_WHERE}"))
    classes: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="records-") as name:
        for file in records:
            part = file.parent.name if len(folders) > 1 else ""
            problems += _unpack(file, Path(name) / part, classes)
        if problems:
            raise DataRefused(problems)
        try:
            yield Path(name)
        except DataRefused as refusal:
            raise refusal.with_paths_in(shown(path), instead_of=name) from None
        except ValueError as error:
            error.args = tuple(str(each).replace(name, shown(path)) for each in error.args)
            raise


def _records(path: Path) -> tuple[list[Path], list[Path]]:
    """The TFRecord files, and what lies beside them that could be data as well."""
    if path.is_file():
        return ([path] if _RECORDS.search(path.name) else []), []
    files = [
        Path(folder) / name
        for folder, names in _walked(path)
        for name in names
        if not is_left_behind(name) and not is_note(Path(folder) / name)
    ]
    records = sorted(file for file in files if _RECORDS.search(file.name))
    return records, sorted(set(files) - set(records)) if records else []


def _walked(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Folders that are seen, with the names of their files; links are followed, but in no round."""
    seen: set[str] = set()
    for path, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(path))
        folders[:] = [
            name
            for name in folders
            if not is_left_behind(name) and os.path.realpath(Path(path) / name) not in seen
        ]
        yield path, names


def _unpack(file: Path, folder: Path, classes: dict[str, str]) -> Iterator[FileProblem]:
    """Writes the pictures of a file; yields what is wrong with it.

    Args:
        file: of records.
        folder: for the folders of classes.
        classes: what each of these stands for; it is added to.
    """
    # Takes seconds to import.
    import tensorflow as tf

    compression = "GZIP" if file.suffix.lower() == ".gz" else ""
    number = -1
    try:
        records = tf.data.TFRecordDataset(str(file), compression).as_numpy_iterator()
        for number, record in enumerate(records):
            if problem := _write(record, folder, f"{file.name}-{number:06}", classes):
                yield FileProblem(f"{shown(file)}, record {number}", problem)
    except tf.errors.OpError:
        yield FileProblem(shown(file), f"it is damaged behind {number + 1} records")
    else:
        if number < 0:
            yield FileProblem(shown(file), "it has no records")


def _write(record: bytes, folder: Path, name: str, classes: dict[str, str]) -> str:
    """Writes the picture of a record; returns what keeps it from doing so."""
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        features = tf.train.Example.FromString(record).features.feature
    except DecodeError:
        return "is no tf.Example"
    picture, label = _value(features, _PICTURE), _value(features, _CLASS)
    if not isinstance(picture, bytes):
        return "has no encoded picture in the feature image"
    try:
        of_class = label.decode() if isinstance(label, bytes) else str(label)
    except UnicodeDecodeError:
        return "its label is no text"
    if not isinstance(label, bytes | int) or not of_class:
        return "has no number and no name of a class in the feature label"
    kind = safe_name(of_class)
    if not kind:
        return f"its label {of_class[:80]!r} is no name of a folder that is seen: rename it"
    if (known := classes.setdefault(kind, same_name(of_class))) != same_name(of_class):
        return f"its label {of_class!r} and {known!r} become one folder: rename one of the two"
    target = folder / kind
    target.mkdir(parents=True, exist_ok=True)
    (target / f"{name}{'.jpg' if picture.startswith(_JPEG) else '.png'}").write_bytes(picture)
    return ""


def _value(features: Any, names: tuple[str, ...]) -> bytes | int | float | None:
    """The only value of the first of these features that there is."""
    for name in names:
        if name in features:
            kind = features[name].WhichOneof("kind")
            values: Any = getattr(features[name], kind).value if kind else ()
            return values[0] if len(values) == 1 else None
    return None
