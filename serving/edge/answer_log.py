"""What was predicted, as the recorder sees it: one JSON object a recorded picture.

The recording itself holds the pictures; this is what a judgement reads every few seconds.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from serving.edge.rotated_log import before, read_since

_MAX_BYTES = 64_000_000


@dataclass(frozen=True)
class PredictedLabel:
    """The label of one picture.

    Attributes:
        time: when it was asked, in seconds since 1970.
        variant: that answered the client.
        version: that answered the recorder.
        label: the most probable one; its index where the model does not name it.
    """

    time: float
    variant: str
    version: int
    label: str


class AnswerLog:
    """The file, and the one before it, of at most 64 MB each. For one writer."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, found: Sequence[PredictedLabel]) -> None:
        """Adds lines; raises OSError if they cannot be written."""
        if not found:
            return
        if self._path.exists() and self._path.stat().st_size > _MAX_BYTES:
            self._path.replace(before(self._path))
        text = "".join(json.dumps(asdict(each)) + "\n" for each in found)
        # One write, so that a reader meets whole lines.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


def read_answers(path: Path, since: float = 0.0) -> Iterator[PredictedLabel]:
    """Returns what was predicted since a moment; a damaged line is left out."""
    return read_since(path, since, _parsed)


def _parsed(line: str) -> PredictedLabel | None:
    try:
        fields = json.loads(line)
        return PredictedLabel(
            float(fields["time"]), str(fields["variant"]), int(fields["version"]), fields["label"]
        )
    except (ValueError, KeyError, TypeError):
        return None
