"""The names of a classifier's classes, in the order of their ids, inside its SavedModel.

They can be read without running the model. Model servers pass over what they do not know in
`assets.extra`.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from tfx.dsl.io import fileio

VOCABULARY_FILE = "assets.extra/labels.json"

_log = logging.getLogger(__name__)


def write_vocabulary(model: Path, labels: Sequence[str]) -> None:
    """Writes the labels into the folder of a SavedModel."""
    path = model / VOCABULARY_FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(list(labels), indent=2))


def read_vocabulary(model: str | Path) -> list[str]:
    """Returns the labels in a SavedModel's folder, local or not; none where it does not say."""
    path = f"{model}/{VOCABULARY_FILE}"
    if not fileio.exists(path):
        return []
    with fileio.open(path, "rb") as file:
        content = file.read()
    try:
        return TypeAdapter(list[str]).validate_json(content)
    except ValidationError:
        _log.warning("%s is not a list of labels: the model's classes are unknown", path)
        return []
