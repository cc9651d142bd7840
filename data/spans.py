"""The spans of a data root, and which of them are quarantined.

Spans lie at ``<data root>/spans/<N>/``; the quarantine is ``<data root>/quarantine.json``. A span
appears by one rename and is never changed. Everything but `add` imports the standard library only,
so that asking whether there is new data costs nothing.
"""

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from components.idx_example_gen import layout

if TYPE_CHECKING:
    from components.idx_example_gen.idx import Bytes

logger = logging.getLogger(__name__)

IMAGES_FILE = "images-idx3-ubyte.gz"
LABELS_FILE = "labels-idx1-ubyte.gz"

_INCOMING = ".incoming"


class SpanError(ValueError):
    """A span that was named is not there, or not in the state it must be in."""


@dataclass(frozen=True)
class Quarantine:
    """Why and since when a span is left out.

    Attributes:
        reason: what was wrong with it, for people.
        since: time of the quarantine, ISO 8601 in UTC.
    """

    reason: str
    since: str


@dataclass(frozen=True)
class Added:
    """What `add` did.

    Attributes:
        span: the number under which the images now lie.
        is_new: False when that span already held exactly these images and labels.
    """

    span: int
    is_new: bool


def list_spans(root: Path) -> list[int]:
    """Numbers of all spans, quarantined ones included, ascending."""
    return layout.list_spans(root)


def newest(root: Path) -> int | None:
    """The newest span that is not quarantined."""
    return max(window(root, 1), default=None)


def window(root: Path, size: int | None) -> list[int]:
    """The `size` newest spans (all when None) that are not quarantined, ascending."""
    return layout.window(list_spans(root), size, quarantined(root))


def quarantined(root: Path) -> dict[int, Quarantine]:
    """The quarantined spans, ascending."""
    return {span: Quarantine(**entry) for span, entry in layout.read_quarantine(root).items()}


def quarantine(root: Path, span: int, reason: str) -> None:
    """Leaves `span` out of every later window, until it is released.

    A span that is quarantined already keeps its first reason.

    Raises:
        SpanError: there is no such span.
    """
    if span not in list_spans(root):
        raise SpanError(f"there is no span {span} in {root / 'spans'}")
    with _locked(root):
        entries = quarantined(root)
        if span in entries:
            return
        entries[span] = Quarantine(reason, datetime.now(UTC).isoformat(timespec="seconds"))
        _write_registry(root, entries)
    logger.warning("span %d of %s is quarantined: %s", span, root, reason)


def release(root: Path, span: int) -> Quarantine:
    """Takes `span` back into later windows and returns what was recorded about it.

    Raises:
        SpanError: the span is not quarantined.
    """
    with _locked(root):
        entries = quarantined(root)
        if span not in entries:
            known = ", ".join(map(str, entries)) or "none is"
            raise SpanError(f"span {span} is not quarantined (quarantined: {known})")
        released = entries.pop(span)
        _write_registry(root, entries)
    logger.info("span %d of %s is released", span, root)
    return released


def add(root: Path, images: "Bytes", labels: "Bytes") -> Added:
    """Writes images (uint8 [n, height, width]) and labels (uint8 [n]) as the next span.

    The span appears whole or not at all. Images and labels that are a span already are not added
    a second time, so that a repeated call does no harm.
    """
    from components.idx_example_gen import idx

    with _locked(root):
        incoming = root / "spans" / _INCOMING
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.mkdir(parents=True)
        idx.write(incoming / IMAGES_FILE, images)
        idx.write(incoming / LABELS_FILE, labels)
        spans = list_spans(root)
        for span in spans:
            if _same_files(incoming, root / "spans" / str(span)):
                shutil.rmtree(incoming)
                return Added(span, is_new=False)
        span = max(spans, default=0) + 1
        incoming.rename(root / "spans" / str(span))
        _sync_directory(root / "spans")
    logger.info("span %d of %s holds %d new images", span, root, len(images))
    return Added(span, is_new=True)


def _same_files(one: Path, other: Path) -> bool:
    return all(
        (other / name).is_file() and (one / name).read_bytes() == (other / name).read_bytes()
        for name in (LABELS_FILE, IMAGES_FILE)
    )


def _write_registry(root: Path, entries: dict[int, Quarantine]) -> None:
    content = {str(span): asdict(entry) for span, entry in sorted(entries.items())}
    partial = root / f".{layout.QUARANTINE_FILE}"
    with partial.open("w") as file:
        json.dump(content, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(root / layout.QUARANTINE_FILE)
    _sync_directory(root)


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Keeps other processes from changing the root; the lock of a killed one is gone with it."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
