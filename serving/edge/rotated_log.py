"""A log of one JSON object a line that is kept beside the one before it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar


class _Timed(Protocol):
    @property
    def time(self) -> float: ...


_EntryT = TypeVar("_EntryT", bound=_Timed)


def before(log: Path) -> Path:
    """Returns where the log before this one is."""
    return log.with_name(log.name + ".1")


def read_since(
    log: Path, since: float, parsed: Callable[[str], _EntryT | None]
) -> Iterator[_EntryT]:
    """Yields what was logged since a moment, oldest first, from a log and the one before it.

    Args:
        log: it need not exist.
        since: in seconds since 1970.
        parsed: reads a line; None: it is damaged, or being written, and left out.
    """
    for part in (before(log), log):
        try:
            with part.open(encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    entry = parsed(line)
                    if entry is not None and entry.time >= since:
                        yield entry
        except FileNotFoundError:
            continue
