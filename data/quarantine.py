"""Which spans of a data root are left out, since when and why: ``<data root>/quarantine.json``."""

import json
import logging
import re
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data.folders import shown
from data.layout import spans_folder
from files.lock import locked
from files.whole import write_whole

logger = logging.getLogger(__name__)

_FILE = "quarantine.json"


class QuarantineError(ValueError):
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


def quarantined(root: Path) -> dict[int, Quarantine]:
    """The quarantined spans, ascending; what cannot be read of the file is left out with a line."""
    entries, defect = _read(root)
    if defect:
        known = ", ".join(map(str, entries)) or "none"
        logger.warning("%s is damaged (%s); quarantined: %s", root / _FILE, defect, known)
    return entries


def quarantine(root: Path, span: int, reason: str) -> None:
    """Leaves `span` out of every later window, until it is released.

    A span that is quarantined already keeps its first reason.

    Raises:
        QuarantineError: there is no such span.
    """
    reason = shown(reason)
    if not (spans_folder(root) / str(span)).is_dir():
        raise QuarantineError(f"there is no span {span} in {spans_folder(root)}")
    with locked(root / ".lock"):
        entries = quarantined(root)
        if span in entries:
            return
        entries[span] = Quarantine(reason, datetime.now(UTC).isoformat(timespec="seconds"))
        _write(root, entries)
    logger.warning("span %d of %s is quarantined: %s", span, root, reason)


def release(root: Path, span: int) -> Quarantine:
    """Takes `span` back into later windows and returns what was recorded about it.

    Raises:
        QuarantineError: the span is not quarantined.
    """
    with locked(root / ".lock"):
        entries = quarantined(root)
        if span not in entries:
            known = ", ".join(map(str, entries)) or "none is"
            raise QuarantineError(f"span {span} is not quarantined (quarantined: {known})")
        released = entries.pop(span)
        _write(root, entries)
    logger.info("span %d of %s is released", span, root)
    return released


def _read(root: Path) -> tuple[dict[int, Quarantine], str]:
    """What can be read of the file, and what is wrong with the rest; empty: nothing."""
    try:
        content = json.loads((root / _FILE).read_bytes())
    except FileNotFoundError:
        return {}, ""
    except (ValueError, RecursionError) as error:
        return {}, str(error)
    if not isinstance(content, dict):
        return {}, "it holds no spans"
    entries, others = {}, []
    for span, entry in content.items():
        if re.fullmatch("[0-9]{1,19}", span) and isinstance(entry, dict):
            reason, since = (_text(entry.get(name)) for name in ("reason", "since"))
            entries[int(span)] = Quarantine(reason, since)
        else:
            others.append(span)
    return dict(sorted(entries.items())), f"its entries {others}" if others else ""


def _text(value: Any) -> str:
    return shown(value) if isinstance(value, str) else "unknown"


def _write(root: Path, entries: dict[int, Quarantine]) -> None:
    if _read(root)[1]:
        # For a person to read what was left out. A copy, not `set_aside`: readers hold no lock, and
        # one that finds no file takes every span for sound.
        aside = root / f"{_FILE}.damaged-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
        shutil.copy(root / _FILE, aside)
        logger.warning("what was in %s is kept as %s", root / _FILE, aside)
    content = {str(span): asdict(entry) for span, entry in sorted(entries.items())}
    write_whole(root / _FILE, json.dumps(content, indent=2))
