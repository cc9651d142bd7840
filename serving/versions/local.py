"""Versions on a local (or mounted POSIX) file system: atomic, durable, safe between processes.

A version appears by one rename of a directory that is complete, verified and on disk, which is
atomic on every POSIX file system and refused by the kernel when the target exists and is not
empty. Writers exclude each other, and a live push is told from a dead one's leftovers, by
`flock`: the kernel drops the lock with its holder, however that dies.
"""

import errno
import fcntl
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from serving.versions.record import checksums_of
from serving.versions.storage import PublishError, Storage, differences

logger = logging.getLogger(__name__)

_LOCK = ".versions/lock"
_STAGING = ".staging-"
_REMOVING = ".removing-"


class LocalStorage(Storage):
    """A base directory that is reached through the operating system."""

    def __init__(self, base: Path) -> None:
        super().__init__(str(base))
        self._base = base

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Waits for and holds the directory's lock."""
        path = self._base / _LOCK
        path.parent.mkdir(parents=True, exist_ok=True)
        with _flocked(os.open(path, os.O_RDWR | os.O_CREAT, 0o644)):
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
            return (self._base / path).read_text()
        except FileNotFoundError:
            return None

    def write(self, path: str, text: str) -> None:
        target = self._base / path
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            with temporary.open("w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        _fsync_directory(target.parent)

    @contextmanager
    def stage(self, source: Path, checksums: Mapping[str, str]) -> Iterator[Callable[[str], None]]:
        staging = self._base / f"{_STAGING}{uuid.uuid4().hex}"

        def reveal(name: str) -> None:
            target = self._base / name
            # The kernel would let the rename replace an empty directory.
            if target.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
            staging.rename(target)
            _fsync_directory(self._base)

        try:
            with self.lock():
                self._clear_leftovers()
                staging.mkdir()
                descriptor = os.open(staging, os.O_RDONLY | os.O_DIRECTORY)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            raise PublishError(_sentence(self.base, error)) from error
        try:
            try:
                _copy_durably(source, staging)
            except OSError as error:
                raise PublishError(_sentence(self.base, error)) from error
            copied = checksums_of(staging)
            if copied != dict(checksums):
                raise PublishError(
                    f"The copy of {source} in {self.base} is not what was blessed: "
                    f"{differences(checksums, copied)}. Nothing was pushed."
                )
            yield reveal
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            os.close(descriptor)

    def copy_in(self, source: Path, folder: str) -> None:
        target = self._base / folder
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        _copy_durably(source, target)

    def checksums(self, folder: str) -> dict[str, str]:
        return checksums_of(self._base / folder)

    def rename(self, name: str, new_name: str) -> None:
        (self._base / name).rename(self._base / new_name)
        _fsync_directory(self._base)

    def remove(self, folder: str) -> None:
        """Renames the folder away first: a server never sees it shrink."""
        doomed = self._base / f"{_REMOVING}{uuid.uuid4().hex}"
        try:
            (self._base / folder).rename(doomed)
        except FileNotFoundError:
            return
        _fsync_directory(self._base)
        shutil.rmtree(doomed)

    def uri(self, folder: str) -> str:
        return str(self._base / folder)

    def _clear_leftovers(self) -> None:
        for name in self.names():
            path = self._base / name
            if name.startswith(_REMOVING) or (name.startswith(_STAGING) and not _is_held(path)):
                logger.info("removing %s, left by a push or a removal that died", path)
                shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _flocked(descriptor: int) -> Iterator[None]:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_held(directory: Path) -> bool:
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _copy_durably(source: Path, target: Path) -> None:
    """Copies a tree into an existing directory and waits until all of it is on disk."""
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        if path.is_dir():
            copy.mkdir()
            continue
        shutil.copyfile(path, copy)
        with copy.open("rb") as file:
            os.fsync(file.fileno())
    for directory in [target, *(path for path in target.rglob("*") if path.is_dir())]:
        _fsync_directory(directory)


def _fsync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sentence(base: str, error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    return f"Could not push to {base}: {error.strerror or error}{where}. Nothing was pushed."
