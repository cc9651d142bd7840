"""Certificates, tokens and passwords of an edge: what nginx reads of them, and when they change."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

from files.whole import write_whole
from serving.edge.values import Edge

FILES = ("certificate", "key", "tokens", "passwords")
# Tokens are in nginx.conf itself.
_COPIED = ("certificate", "key", "passwords")
_PREFIX = "secrets-"

_Seen = tuple[tuple[int, int, int] | None, ...]


def with_copies(edge: Edge) -> Edge:
    """Returns the edge with copies of its files, in its own folder, under names of their content.

    nginx reads passwords at each request, and certificates when it is started again: neither must
    meet what somebody has half written, or what was refused.

    Raises:
        OSError: a file cannot be read or written.
    """
    contents = {
        name: path.read_bytes() for name in _COPIED if (path := getattr(edge, name)) is not None
    }
    if not contents:
        return edge
    digest = hashlib.sha256(repr(sorted(contents.items())).encode()).hexdigest()
    folder = edge.folder / f"{_PREFIX}{digest[:16]}"
    copies: dict[str, Path] = {}
    for name, content in contents.items():
        copies[name] = folder / name
        write_whole(copies[name], content)
    return replace(edge, **copies)  # type: ignore[arg-type]


def remove_copies(edge: Edge, *besides: str) -> None:
    """Removes all copies of an edge that none of some configurations name."""
    for folder in edge.folder.glob(f"{_PREFIX}*"):
        if not any(folder.name in text for text in besides):
            shutil.rmtree(folder, ignore_errors=True)


class Renewal:
    """Notices that an edge's files were changed since this was made."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._known = self._before = self._look()

    def is_due(self) -> bool:
        """Whether there is a change that was the same at the last look: true once for a change.

        A certificate and its key are written one after the other.
        """
        now, before = self._look(), self._before
        self._before = now
        if now == self._known or now != before:
            return False
        self._known = now
        return True

    def _look(self) -> _Seen:
        return tuple(_state(getattr(self._edge, name)) for name in FILES)


def _state(path: Path | None) -> tuple[int, int, int] | None:
    try:
        found = path.stat() if path else None
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns) if found else None
