"""Versions on a local (or mounted POSIX) file system: atomic, durable, safe between processes.

A version appears by one rename of a directory that is complete, verified and on disk, which is
atomic on every POSIX file system and refused by the kernel when the target exists and is not
empty. Writers exclude each other, and a live push is told from a dead one's leftovers, by
`flock`: the kernel drops the lock with its holder, however that dies.
"""

import errno
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from files.lock import is_locked, locked
from files.whole import flush, replacing
from serving.versions.permissions import Permissions
from serving.versions.record import checksums_of
from serving.versions.storage import PublishError, Storage, differences, not_pushed

logger = logging.getLogger(__name__)

LOCK = Path(".versions/lock")
_STAGING = ".staging-"
_REMOVING = ".removing-"


class LocalStorage(Storage):
    """A base directory that is reached through the operating system."""

    def __init__(self, base: Path, permissions: Permissions) -> None:
        super().__init__(str(base))
        self._base = base
        self._permissions = permissions

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Waits for and holds the directory's lock."""
        self._make_folder(self._base / LOCK.parent)
        with locked(self._base / LOCK):
            with suppress(PermissionError):
                self._permissions.apply(self._base / LOCK)
            yield

    def names(self, folder: str = "") -> list[str]:
        try:
            return sorted(path.name for path in (self._base / folder).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def exists(self, path: str) -> bool:
        return (self._base / path).exists()

    def read(self, path: str) -> str | None:
        try:
            return (self._base / path).read_text("utf-8")
        except FileNotFoundError:
            return None

    def write(self, path: str, text: str) -> None:
        target = self._base / path
        self._make_folder(target.parent)
        with replacing(target) as partial:
            partial.write_text(text, "utf-8")
            self._permissions.apply(partial)

    @contextmanager
    def stage(self, source: Path, checksums: Mapping[str, str]) -> Iterator[Callable[[str], None]]:
        staging = self._base / f"{_STAGING}{uuid.uuid4().hex}"

        def reveal(name: str) -> None:
            target = self._base / name
            # The kernel would let the rename replace an empty directory.
            if target.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
            staging.rename(target)
            flush(self._base)

        with ExitStack() as stack:
            try:
                with self.lock():
                    self._clear_leftovers()
                    staging.mkdir()
                    # While it is held, no other push takes the folder for a leftover.
                    stack.enter_context(locked(staging))
                stack.callback(shutil.rmtree, staging, ignore_errors=True)
                self._copy_durably(source, staging)
            except OSError as error:
                raise PublishError(not_pushed(self.base, error)) from error
            copied = checksums_of(staging)
            if copied != dict(checksums):
                raise PublishError(
                    f"The copy of {source} in {self.base} is not what was blessed: "
                    f"{differences(checksums, copied)}. Nothing was pushed."
                )
            yield reveal

    def copy_in(self, source: Path, folder: str) -> None:
        target = self._base / folder
        shutil.rmtree(target, ignore_errors=True)
        self._make_folder(target.parent)
        target.mkdir()
        self._copy_durably(source, target)

    def checksums(self, folder: str) -> dict[str, str]:
        return checksums_of(self._base / folder)

    def rename(self, name: str, new_name: str) -> None:
        (self._base / name).rename(self._base / new_name)
        flush(self._base)

    def remove(self, folder: str) -> None:
        """Renames the folder away first: a server never sees it shrink."""
        doomed = self._base / f"{_REMOVING}{uuid.uuid4().hex}"
        try:
            (self._base / folder).rename(doomed)
        except FileNotFoundError:
            return
        flush(self._base)
        shutil.rmtree(doomed)

    def uri(self, folder: str) -> str:
        return str(self._base / folder)

    def _make_folder(self, path: Path) -> None:
        self._permissions.make_folder(path)

    def _copy_durably(self, source: Path, target: Path) -> None:
        """Copies a tree into an existing folder and waits until all of it is on disk."""
        for path in sorted(source.rglob("*")):
            copy = target / path.relative_to(source)
            if path.is_dir():
                copy.mkdir()
                continue
            shutil.copyfile(path, copy)
            self._permissions.apply(copy)
            flush(copy)
        for folder in [target, *(path for path in target.rglob("*") if path.is_dir())]:
            self._permissions.apply(folder)
            flush(folder)

    def _clear_leftovers(self) -> None:
        for name in self.names():
            path = self._base / name
            if name.startswith(_REMOVING) or (name.startswith(_STAGING) and _is_dead(path)):
                logger.info("removing %s, left by a push or a removal that died", path)
                shutil.rmtree(path, ignore_errors=True)


def _is_dead(staging: Path) -> bool:
    try:
        return not is_locked(staging)
    except FileNotFoundError:
        return False
