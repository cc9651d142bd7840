"""What `runner.py data list` shows: the spans of a data root, and what became of each."""

import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel
from rich.table import Table

from data import idx, picture_folder
from data.layout import is_complete, spans_folder
from data.quarantine import quarantined
from data.spans import LABELS_FILE, list_incomplete, list_spans
from orchestration.console import plain_console
from pipeline.settings.config import Config
from serving.versions.store import VersionStore


class SpanState(StrEnum):
    """What became of a span."""

    SERVED = "served"
    NEW = "new"
    QUARANTINED = "quarantined"
    INCOMPLETE = "incomplete"


class ListedSpan(BaseModel):
    """One span.

    Attributes:
        span: its number.
        images: how many it has; None: its labels cannot be read.
        state: what became of it.
        since: when that state began; for a new span, when its labels were written.
        reason: why it is quarantined or incomplete, or which version was trained on it.
    """

    span: int
    images: int | None
    state: SpanState
    since: str = ""
    reason: str = ""


def listed_spans(config: Config) -> list[ListedSpan]:
    """Returns all spans of the data root, ascending."""
    folder = spans_folder(config.data_root)
    numbers = sorted({*list_spans(folder), *list_incomplete(folder)})
    left_out = quarantined(config.data_root)
    first: dict[int, tuple[str, str]] = {}
    for version in VersionStore(config.serving_base).served():
        if version.record:
            pushed = f"{version.record.pushed_at:%Y-%m-%dT%H:%M:%SZ}"
            # From newest to oldest: what stays is the first version that was trained on it.
            first |= dict.fromkeys(version.record.spans, (pushed, f"version {version.number}"))
    found = []
    for number in numbers:
        state, since, reason = SpanState.NEW, _written(folder / str(number)), ""
        if number in left_out:
            entry = left_out[number]
            state, since, reason = SpanState.QUARANTINED, entry.since, entry.reason
        elif not is_complete(folder / str(number)):
            state, reason = SpanState.INCOMPLETE, _why_incomplete(folder / str(number))
        elif number in first:
            state, (since, reason) = SpanState.SERVED, first[number]
        images = _count(folder / str(number))
        found.append(
            ListedSpan(span=number, images=images, state=state, since=since, reason=reason)
        )
    return found


def print_spans(found: list[ListedSpan], root: Path) -> None:
    """Prints the spans as a table."""
    console = plain_console(sys.stdout)
    if not found:
        console.print(f"no spans in {spans_folder(root)}")
        return
    table = Table(title=f"spans in {spans_folder(root)}", title_justify="left", box=None)
    for name in ("span", "images", "state", "since", "why"):
        table.add_column(name)
    for span in found:
        images = "?" if span.images is None else str(span.images)
        table.add_row(str(span.span), images, span.state, span.since, span.reason)
    console.print(table)


def _count(span: Path) -> int | None:
    if picture_folder.has_pictures(span):
        return len(picture_folder.pictures(span))
    path = span / LABELS_FILE
    try:
        return len(idx.read_labels(path if path.exists() else path.with_suffix("")))
    except idx.IdxError:
        return None


def _why_incomplete(span: Path) -> str:
    if picture_folder.has_pictures(span) and not (span / picture_folder.SUMS).exists():
        return f"no {picture_folder.SUMS} yet, which `data ingest` writes last"
    return "a file is missing: it may still be copied"


def _written(span: Path) -> str:
    time = datetime.fromtimestamp(span.stat().st_mtime, UTC)
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
