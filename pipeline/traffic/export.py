"""Lays recorded pictures out in a folder per class, for a person to move what is wrong."""

import re
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipeline.modeling.features import ImageFormat
from pipeline.traffic.statistics import decode
from serving.traffic.reading import Answer, RecordedPicture

_NOT_IN_A_NAME = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class Exported:
    """How many pictures were written by class, and how many were left out as copies."""

    classes: dict[str, int]
    copies: int


def export_least_confident(
    pictures: Sequence[RecordedPicture],
    answers: Sequence[Answer | None],
    count: int,
    output: Path,
    classes: Sequence[str],
    image_format: ImageFormat | None = None,
) -> Exported:
    """Writes the pictures whose answers were least sure, each once, as `data ingest` takes them.

    Files are PNGs as the model sees them, so that what is taken in is what was asked. Every class
    has a folder, also where no picture was taken for it.

    Args:
        pictures: recorded ones.
        answers: to each; pictures without one are left out.
        count: how many at most.
        output: the folder to write; appears when it is complete.
        classes: what they are called.
        image_format: of what the model sees; None: small grey pictures.

    Raises:
        FileExistsError: the folder is there and not empty.
        OSError: it cannot be written; nothing is left of it.
    """
    if output.exists() and any(output.iterdir()):
        raise FileExistsError(output)
    answered = [
        (picture, answer) for picture, answer in zip(pictures, answers, strict=True) if answer
    ]
    answered.sort(key=lambda each: each[1].confidence)
    looked = (
        decode([picture.encoded for picture, _ in answered], image_format) if answered else None
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.{uuid.uuid4().hex[:8]}.partial")
    written: dict[str, int] = dict.fromkeys(classes, 0)
    seen: set[bytes] = set()
    copies = 0
    try:
        for name in classes:
            (partial / folder_of(name)).mkdir(parents=True)
        for image, row in zip(looked.images, looked.rows, strict=True) if looked else ():
            if sum(written.values()) == count:
                break
            picture, answer = answered[row]
            png = tf.io.encode_png(np.rint(image).astype(np.uint8)).numpy()
            if png in seen:
                copies += 1
            elif answer.label in written:
                seen.add(png)
                folder = partial / folder_of(answer.label)
                _free(folder, picture.name).write_bytes(png)
                written[answer.label] += 1
        if output.exists():
            output.rmdir()
        partial.rename(output)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return Exported(written, copies)


def folder_of(name: str) -> str:
    """Returns the folder of a class: its name without what no folder has."""
    return _NOT_IN_A_NAME.sub("_", name)


def _free(folder: Path, name: str) -> Path:
    """A file for a picture: ids come from clients, and may be the same twice or no names at all."""
    stem = _NOT_IN_A_NAME.sub("_", name).lstrip(".")[:100] or "picture"
    path, number = folder / f"{stem}.png", 1
    while path.exists():
        path, number = folder / f"{stem}-{number}.png", number + 1
    return path
