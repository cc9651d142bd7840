"""The settings and the schema that `data prepare` writes for pictures of one's own."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SETTINGS_FILE = "settings.toml"
SCHEMA_FILE = "schema.pbtxt"

# The drift limits were measured on samples of 300 images and more.
_SOUND_STATISTICS = 1000
# Behind the last stage of the network no more than this is left of an edge.
_LAST_EDGE = 8
# Augmentation and network keep some hundred bytes of each pixel of a step.
_PIXELS_OF_A_STEP = 1 << 21


@dataclass(frozen=True)
class Target:
    """What is to be written.

    Attributes:
        output: the folder; must not be there yet.
        name: of the model.
        schema: text of a schema with an integer domain for the label.
        image_size: height and width that the network sees.
        color: `grey` or `rgb`.
        fit: what becomes of a picture that is not square.
        max_pixels: of a picture, width times height.
        allow_duplicates: whether a picture may be in two classes, or in training and test.
    """

    output: Path
    name: str
    schema: str
    image_size: int = 28
    color: str = "grey"
    fit: str = "squash"
    max_pixels: int = 25_000_000
    allow_duplicates: bool = False


def schema_for(text: str, class_count: int) -> str:
    """Returns a schema's text with as many labels as there are classes."""
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    schema = text_format.Parse(text, schema_pb2.Schema())
    for feature in schema.feature:
        if feature.name == "label" and feature.HasField("int_domain"):
            feature.int_domain.max = class_count - 1
            return str(text_format.MessageToString(schema))
    raise ValueError("the schema has no integer domain for the label")


def _filters(image_size: int) -> list[int]:
    """One stage more whenever what the last one sees would be larger than it is of 28 pixels."""
    stages = 3
    while stages < 5 and image_size / 2 ** (stages - 1) > _LAST_EDGE:
        stages += 1
    return [32, 64, 128, 128, 128][:stages]


def batch_size(train: int, image_size: int) -> int:
    """Returns how many images are in a step: a power of two, which a small machine's memory holds.

    Args:
        train: how many there are to train on, sixteen steps' at least.
        image_size: edge of what the network sees, in pixels.
    """
    most = min(256, max(8, train // 16), max(8, _PIXELS_OF_A_STEP // image_size**2))
    return 2 ** int(math.log2(most))


def settings_for(target: Target, labels: Sequence[str], train: int, test: int) -> str:
    """The settings that depend on the pictures and on what the network is to see, as TOML."""
    root = target.output
    better_than_guessing = (1 + 1 / len(labels)) / 2
    two_standard_errors = max(0.01, 2 * math.sqrt(0.1 / test))
    return f"""\
# Written from a folder of pictures: {train} to train on, {test} to test on.
workdir = {_quoted(str(root / "var"))}

[data]
root = {_quoted(str(root))}
schema_file = {_quoted(str(root / SCHEMA_FILE))}
labels = [{_listed(labels)}]
image_size = {target.image_size}
color = {_quoted(target.color)}
# What becomes of a picture that is not square: squash, crop or pad.
fit = {_quoted(target.fit)}
# Batches of few pictures differ by chance more than the schema's drift limits allow.
stop_on_drift = {"true" if train >= _SOUND_STATISTICS else "false"}

[serving]
model_name = {_quoted(target.name)}
max_pixels = {target.max_pixels}

[training]
batch_size = {batch_size(train, target.image_size)}
epochs = {8 if train >= 20_000 else 20}
filters = {_filters(target.image_size)}
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


def _listed(labels: Iterable[str]) -> str:
    return ", ".join(map(_quoted, labels))


def _quoted(text: str) -> str:
    # A string of JSON is one of TOML, too, but for one character.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
