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

from data.folders import is_left_behind, shown
from data.refusal import DataRefused, FileProblem

_RECORDS = re.compile(r"tfrecords?(-\d+-of-\d+)?(\.gz)?$", re.IGNORECASE)
_PICTURE = ("image", "image/encoded")
_CLASS = ("label", "image/class/text", "image/class/label")
_JPEG = b"\xff\xd8\xff"
# What TensorFlow Datasets and people write beside records.
_ABOUT_DATA = frozenset((".json", ".md", ".txt"))


@contextmanager
def as_folder(path: Path) -> Iterator[Path]:
    """Yields `path`; if it is TFRecord files, a folder with their pictures, there for the block.

    Folders between `path` and the files (`train/`, `test/`) stay. A picture is called like its file
    and the number of its record. What the block raises names `path`.

    Raises:
        DataRefused: files or records that cannot be read, or other files beside the records.
    """
    records, others = _records(path)
    if not records:
        yield path
        return
    problems = [FileProblem(shown(file), "it lies beside TFRecord files") for file in others]
    with tempfile.TemporaryDirectory(prefix="records-") as name:
        for file in records:
            inside = file.parent.relative_to(path) if path.is_dir() else Path()
            problems += _unpack(file, Path(name) / inside)
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
        for folder, _, names in os.walk(path)
        for name in names
        if not is_left_behind(name) and Path(name).suffix.lower() not in _ABOUT_DATA
    ]
    records = sorted(file for file in files if _RECORDS.search(file.name))
    return records, sorted(set(files) - set(records)) if records else []


def _unpack(file: Path, folder: Path) -> Iterator[FileProblem]:
    """Writes the pictures of a file; yields what is wrong with it."""
    # Takes seconds to import.
    import tensorflow as tf

    compression = "GZIP" if file.suffix.lower() == ".gz" else ""
    number = -1
    try:
        records = tf.data.TFRecordDataset(str(file), compression).as_numpy_iterator()
        for number, record in enumerate(records):
            if problem := _write(record, folder, f"{file.name}-{number:06}"):
                yield FileProblem(f"{shown(file)}, record {number}", problem)
    except tf.errors.OpError:
        yield FileProblem(shown(file), f"it is damaged behind {number + 1} records")
    else:
        if number < 0:
            yield FileProblem(shown(file), "it has no records")


def _write(record: bytes, folder: Path, name: str) -> str:
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
    if not isinstance(label, bytes | int) or not of_class.strip(".") or set(of_class) & {*"/\\\0"}:
        return "has no number and no name of a class in the feature label"
    target = folder / of_class
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
