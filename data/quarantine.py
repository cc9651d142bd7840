"""Which spans of a data root are left out, since when and why: ``<data root>/quarantine.json``."""

import json
import logging
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

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
    path = root / _FILE
    try:
        entries = json.loads(path.read_bytes())
        return {
            int(span): Quarantine(entry.get("reason", "unknown"), entry.get("since", "unknown"))
            for span, entry in sorted(entries.items(), key=lambda item: int(item[0]))
        }
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError) as error:
        logger.warning("%s is damaged (%s): no span counts as quarantined", path, error)
        return {}


def quarantine(root: Path, span: int, reason: str) -> None:
    """Leaves `span` out of every later window, until it is released.

    A span that is quarantined already keeps its first reason.

    Raises:
        QuarantineError: there is no such span.
    """
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


def _write(root: Path, entries: dict[int, Quarantine]) -> None:
    content = {str(span): asdict(entry) for span, entry in sorted(entries.items())}
    write_whole(root / _FILE, json.dumps(content, indent=2))
