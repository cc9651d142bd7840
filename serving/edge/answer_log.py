"""What was predicted, as the recorder sees it: one JSON object a recorded picture.

The recording itself holds the pictures; this is what a judgement reads every few seconds.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from serving.edge.access_log import ROTATED

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
            self._path.replace(self._path.with_name(self._path.name + ROTATED))
        text = "".join(json.dumps(asdict(each)) + "\n" for each in found)
        # One write, so that a reader meets whole lines.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


def read_answers(path: Path, since: float = 0.0) -> Iterator[PredictedLabel]:
    """Yields what was predicted since a moment; a damaged line is left out."""
    for part in (path.with_name(path.name + ROTATED), path):
        try:
            with part.open(encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    found = _parsed(line)
                    if found is not None and found.time >= since:
                        yield found
        except FileNotFoundError:
            continue


def _parsed(line: str) -> PredictedLabel | None:
    try:
        fields = json.loads(line)
        return PredictedLabel(
            float(fields["time"]), str(fields["variant"]), int(fields["version"]), fields["label"]
        )
    except (ValueError, KeyError, TypeError):
        return None
