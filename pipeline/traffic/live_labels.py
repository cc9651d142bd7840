"""True labels of recorded requests, which arrive later, and the live accuracy they give.

A label is joined with what was answered when it arrives: both outlive the recording in
`<workdir>/traffic/labels.jsonl`, a line for each picture.
"""

import csv
import io
import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from data.class_names import label_of
from data.refusal import DataRefused
from files.lines import lines_of
from files.whole import write_whole
from pipeline.settings.config import Config
from pipeline.traffic.report import LiveAccuracy
from serving.traffic.files import recordings
from serving.versions.store import VersionStore

logger = logging.getLogger(__name__)

_FILE = "labels.jsonl"
_ID, _LABEL = "request_id", "label"


class LiveLabel(BaseModel):
    """A picture's true label, and what a version answered."""

    request_id: str
    label: str
    answer: str
    version: int


def read_labels(path: Path, classes: Sequence[str]) -> dict[str, str]:
    """Reads labels by the name of the picture.

    Args:
        path: CSV with the columns `request_id` and `label`, or JSON objects with these, a line
            each. Of a request with several pictures, `ID.1` is the second.
        classes: what the classes are called; a label stands for one as a folder's name does.

    Raises:
        OSError: the file cannot be read.
        DataRefused: it is neither, or a line of it is not sound or says another label than one
            before; a sentence for each.
    """
    class_of = cache(partial(label_of, labels=classes))
    found: dict[str, str] = {}
    reasons = []
    try:
        rows = list(_rows(path))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataRefused([f"{path}: neither CSV nor JSON lines ({error})"]) from error
    for number, row in rows:
        request_id, label = (_text(row.get(key)) for key in (_ID, _LABEL))
        place = class_of(label)
        if not request_id or not label:
            reasons.append(f"{path}: line {number} has no {_ID if not request_id else _LABEL}")
        elif place is None:
            reasons.append(f"{path}: line {number}: no class is called {label}")
        elif found.setdefault(request_id, classes[place]) != classes[place]:
            before = found[request_id]
            reasons.append(f"{path}: line {number}: {request_id} is {label}, and {before} before")
    if not rows:
        reasons.append(f"{path}: holds no labels; it needs the columns {_ID} and {_LABEL}")
    if reasons:
        raise DataRefused(reasons)
    return found


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    text = path.read_text(encoding="utf-8-sig")
    if not text.lstrip().startswith("{"):
        reader = csv.DictReader(io.StringIO(text))
        for row in reader:
            yield reader.line_num, row
        return
    for number, line in enumerate(lines_of(text), 1):
        if line.strip():
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                found = None
            yield number, found if isinstance(found, dict) else {}


def take_in(config: Config, labels: Mapping[str, str]) -> list[str]:
    """Joins labels with the answers to the recorded pictures that they name, and keeps both.

    A label for a picture that has one takes its place.

    Args:
        config: all settings.
        labels: by the name of the picture.

    Returns:
        The names that are not in the recording, or to which no answer is known.

    Raises:
        OSError: they cannot be written; what was kept before is as it was.
    """
    # Imports TensorFlow.
    from pipeline.traffic.answers import answers_to
    from serving.traffic.reading import read

    pictures = [
        picture
        for path in recordings(config.recordings_dir, config.serving.model_name)
        for picture in read(path, config.data.labels)
        if picture.name in labels
    ]
    answers = answers_to(pictures, VersionStore(config.serving_base))
    joined = {
        picture.name: LiveLabel(
            request_id=picture.name,
            label=labels[picture.name],
            answer=answer.label,
            version=picture.origin.version,
        )
        for picture, answer in zip(pictures, answers, strict=True)
        if answer
    }
    known = {each.request_id: each for each in kept_labels(config.traffic_dir)} | joined
    lines = [each.model_dump_json() for each in known.values()]
    write_whole(config.traffic_dir / _FILE, "".join(f"{line}\n" for line in lines))
    return [name for name in labels if name not in joined]


def kept_labels(folder: Path) -> list[LiveLabel]:
    """Returns the labels that are kept; a damaged line is passed over, with one in the log."""
    found = []
    path = folder / _FILE
    lines = path.read_bytes().splitlines() if path.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            found.append(LiveLabel.model_validate_json(line))
        except ValidationError:
            logger.warning("%s: line %d is damaged", path, number)
    return found


def live_accuracy(folder: Path) -> list[LiveAccuracy]:
    """Returns how often each version was right, the newest first."""
    by_version = defaultdict(list)
    for each in kept_labels(folder):
        by_version[each.version].append(each.label == each.answer)
    return [
        LiveAccuracy(version=version, labelled=len(right), right=sum(right))
        for version, right in sorted(by_version.items(), reverse=True)
    ]
