"""What was found out about files, remembered for as long as they stay as they are."""

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from pydantic import BaseModel, TypeAdapter

from files.kept import read_kept
from files.whole import write_whole

logger = logging.getLogger(__name__)

_FactT = TypeVar("_FactT", str, list[str])

# A file that is written twice within one tick of its file system's clock bears the same times.
_SETTLED_SECONDS = 2.0


class _Known(BaseModel):
    stamp: tuple[int, int, int, int]
    facts: dict[str, str | list[str]]


_CONTENT = TypeAdapter(dict[str, _Known])


class FileMemory:
    """Facts that follow from the content of one file, such as its digest.

    A fact counts while the file's size, inode and times (in nanoseconds) are those of when it was
    found out. The time of its last change counts as well as that of its last modification, which
    anybody can set back. A file that was changed a moment ago is read again each time.
    """

    def __init__(
        self, path: Path | None = None, *, settled_seconds: float = _SETTLED_SECONDS
    ) -> None:
        """Begins with what is remembered.

        Args:
            path: where `save` keeps it; None: nowhere. A damaged file is an empty memory.
            settled_seconds: how old a file's last change must be for facts about it to be kept.
        """
        self._path = path
        self._settled_ns = int(settled_seconds * 1e9)
        self._known = (read_kept(path, _CONTENT.validate_json) if path else None) or {}
        self._asked: dict[str, _Known] = {}
        self._is_changed = False

    def forget(self) -> None:
        """Has every file read again."""
        self._known, self._asked, self._is_changed = {}, {}, True

    def sha256(self, path: Path) -> str:
        """Returns the SHA-256 of a file, in hexadecimal; raises OSError when it cannot be read."""
        return self.fact("sha256", path, sha256_of)

    def fact(self, name: str, path: Path, find_out: Callable[[Path], _FactT]) -> _FactT:
        """Returns what `find_out` returns for the file as it is.

        Args:
            name: of this kind of facts; another meaning needs another name.
            path: the file.
            find_out: reads the file; what it returns depends on the content alone.

        Raises:
            OSError: there is no such file; and whatever `find_out` raises.
        """
        now = time.time_ns()
        status = path.stat()
        stamp = (status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
        key = str(path)
        known = self._asked.get(key) or self._known.get(key)
        if known is None or known.stamp != stamp:
            known = _Known(stamp=stamp, facts={})
        if name in known.facts:
            self._asked[key] = known
            return cast(_FactT, known.facts[name])
        found = find_out(path)
        if status.st_ctime_ns + self._settled_ns < now:
            known.facts[name] = found
            self._asked[key] = known
            self._is_changed = True
        return found

    def save(self) -> None:
        """Keeps the facts that were asked for; where that fails they are found out again."""
        if self._path is None or not self._is_changed:
            return
        try:
            write_whole(self._path, _CONTENT.dump_json(self._asked))
        except OSError as error:
            logger.warning("%s cannot be written: %s", self._path, error)
        self._is_changed = False


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
