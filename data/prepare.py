"""Turns a folder of pictures of one's own classes into a data root with the settings to use it.

The folder holds one folder of PNG or JPEG files per class, of any size and colour; or the folders
``train`` and ``test``, each with a folder per class. Without a test set, a fifth of every class is
held out, chosen by a hash of the pixels.
"""

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data import idx, splits
from data.ingest import Decode, Labelled, plain, read, visible
from data.refusal import DataRefused

SETTINGS_FILE = "settings.toml"
SCHEMA_FILE = "schema.pbtxt"

_TEST_SHARE = 0.2
_FEWEST_IMAGES = 5
# A label is one byte of an IDX file.
_MOST_CLASSES = 256
# The drift limits were measured on samples of 300 images and more.
_SOUND_STATISTICS = 1000


class PrepareError(ValueError):
    """The folder is not one of pictures by class, or the output is there already."""


@dataclass(frozen=True)
class Prepared:
    """What `prepare` wrote.

    Attributes:
        settings: the TOML file for `--config`.
        labels: names of the classes, in the order of their ids.
        train: number of images to train on.
        test: number of images held out.
    """

    settings: Path
    labels: tuple[str, ...]
    train: int
    test: int


def prepare(
    pictures: Path, output: Path, image_size: int, decode: Decode, schema: str, name: str
) -> Prepared:
    """Writes `output` as a data root: `base/`, the curated schema and the settings.

    Args:
        pictures: the folder, as the module describes.
        output: must not be there yet; appears whole or not at all.
        image_size: height and width of the images that the model is trained on.
        decode: what the model's graph does to a picture, so that training sees what serving does.
        schema: text of a schema with an integer domain for the label.
        name: the model's name.

    Raises:
        PrepareError: `pictures` has no such layout, or `output` exists.
        DataRefused: one sentence for every file that is not sound or class with too few images.
    """
    if output.exists():
        raise PrepareError(f"{output} is there already; remove it or choose another folder")
    train_folder, test_folder = _parts(pictures)
    labels = _class_names(train_folder)
    train = read(train_folder, labels, image_size, decode)
    if test_folder:
        test = read(test_folder, labels, image_size, decode)
    else:
        train, test = _held_out(train)
    _require_enough(pictures, labels, train, test)
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    official = partial / "base"
    official.mkdir(parents=True)
    for part, found in (("train", train), ("t10k", test)):
        idx.write(official / f"{part}-images-idx3-ubyte.gz", found.images)
        idx.write(official / f"{part}-labels-idx1-ubyte.gz", found.labels)
    (partial / SCHEMA_FILE).write_text(_schema_for(schema, len(labels)))
    counts = len(train.labels), len(test.labels)
    (partial / SETTINGS_FILE).write_text(_settings(output, labels, name, *counts))
    partial.rename(output)
    return Prepared(output / SETTINGS_FILE, labels, *counts)


def _parts(pictures: Path) -> tuple[Path, Path | None]:
    """Returns the folder to train on and the folder to test on, if there is one."""
    if not pictures.is_dir():
        raise PrepareError(f"{pictures} is not a folder")
    names = {path.name.lower(): path for path in visible(pictures)}
    if set(names) == {"train", "test"}:
        return names["train"], names["test"]
    return pictures, None


def _class_names(folder: Path) -> tuple[str, ...]:
    names = [path.name for path in visible(folder) if path.is_dir()]
    if len(names) < 2:
        raise PrepareError(f"{folder} needs a folder of PNG or JPEG files for each class")
    if len(names) > _MOST_CLASSES:
        raise PrepareError(f"{folder} has {len(names)} classes; {_MOST_CLASSES} are the most")
    if len({plain(name) for name in names}) < len(names):
        raise PrepareError(f"{folder}: names of classes must differ by letters or digits")
    return tuple(names)


def _held_out(found: Labelled) -> tuple[Labelled, Labelled]:
    """Splits off a fifth of every class; copies of an image stay on one side."""
    hashes = splits.digests(found.images)
    is_test = np.zeros(len(hashes), bool)
    for label in np.unique(found.labels):
        distinct = np.unique(hashes[found.labels == label])
        chosen = distinct[: max(1, round(_TEST_SHARE * len(distinct)))]
        is_test |= (found.labels == label) & np.isin(hashes, chosen)
    return (
        Labelled(found.images[~is_test], found.labels[~is_test]),
        Labelled(found.images[is_test], found.labels[is_test]),
    )


def _require_enough(pictures: Path, labels: Sequence[str], train: Labelled, test: Labelled) -> None:
    reasons = []
    for label, name in enumerate(labels):
        counts = [int(np.sum(part.labels == label)) for part in (train, test)]
        if counts[0] < _FEWEST_IMAGES or not counts[1]:
            reasons.append(
                f"{pictures}: class {name} has {counts[0]} images to train on and {counts[1]} to "
                f"test on; {_FEWEST_IMAGES} and 1 are the least, hundreds are better"
            )
    if reasons:
        raise DataRefused(reasons)


def _schema_for(text: str, class_count: int) -> str:
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    schema = text_format.Parse(text, schema_pb2.Schema())
    for feature in schema.feature:
        if feature.name == "label" and feature.HasField("int_domain"):
            feature.int_domain.max = class_count - 1
            return str(text_format.MessageToString(schema))
    raise ValueError("the schema has no integer domain for the label")


def _settings(root: Path, labels: Sequence[str], name: str, train: int, test: int) -> str:
    """The settings that depend on the number of classes and images, as TOML."""
    batch_size = min(256, max(8, 2 ** int(math.log2(train / 16))))
    better_than_guessing = (1 + 1 / len(labels)) / 2
    two_standard_errors = max(0.01, 2 * math.sqrt(0.1 / test))
    return f"""\
# Written from a folder of pictures: {train} to train on, {test} to test on.
workdir = {_quoted(str(root / "var"))}

[data]
root = {_quoted(str(root))}
schema_file = {_quoted(str(root / SCHEMA_FILE))}
labels = [{", ".join(map(_quoted, labels))}]
# Batches of few pictures differ by chance more than the schema's drift limits allow.
stop_on_drift = {"true" if train >= _SOUND_STATISTICS else "false"}

[serving]
model_name = {_quoted(name)}

[training]
batch_size = {batch_size}
epochs = {8 if train >= 20_000 else 20}
# More careful than the default preset's, which were tuned on 54,000 images of clothes.
learning_rate = 0.003
dropout = 0.3
# Both false where a mirrored picture would be of another class.
random_flip = true
test_time_flip = true

# Half way between guessing and perfect: raise these once you know what can be reached.
[evaluation]
min_accuracy = {better_than_guessing:.2f}
min_span_accuracy = {better_than_guessing:.2f}
min_class_recall = 0.3
max_accuracy_drop = {two_standard_errors:.2f}  # what chance makes of so few test images
"""


def _quoted(text: str) -> str:
    # A string of JSON is one of TOML, too.
    return json.dumps(text, ensure_ascii=False)
