"""Versions on a network or user-space file system that is mounted as a folder (NFS, FUSE, ...).

What such a mount promises depends on server, client and options. Many FUSE file systems (gcsfuse)
rename a folder file by file. NFS refuses `flock` on folders, and on files where locking is off.
So folders are not renamed here, and the lock is taken where there is one.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from files.lock import locked
from files.memory import sha256_of
from files.whole import flush
from serving.versions.file_by_file import FileByFileStorage
from serving.versions.local_storage import LOCK, LocalStorage
from serving.versions.permissions import Permissions

logger = logging.getLogger(__name__)

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EINVAL)


class MountedStorage(FileByFileStorage, LocalStorage):
    """A base directory on a mount that is not a local disk."""

    def __init__(self, base: Path, permissions: Permissions, file_system: str) -> None:
        super().__init__(base, replace(permissions, lenient=True))
        self._file_system = file_system

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the directory's lock, where the mount has locks; else keeps nobody out."""
        with ExitStack() as stack:
            try:
                self._make_folder(self._base / LOCK.parent)
                stack.enter_context(locked(self._base / LOCK))
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                logger.warning(
                    "%s (%s) has no locks: only one push at a time is safe",
                    self.base,
                    self._file_system,
                )
            yield

    def write(self, path: str, text: str) -> None:
        target = self._base / path
        self._make_folder(target.parent)
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
        try:
            partial.write_text(text, "utf-8")
            self._permissions.apply(partial)
            flush(partial)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def _files(self, folder: str) -> list[str]:
        root = self._base / folder
        return sorted(
            path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()
        )

    def _upload(self, source: Path, path: str) -> None:
        target = self._base / path
        self._make_folder(target.parent)
        shutil.copyfile(source, target)
        self._permissions.apply(target)
        flush(target)

    def _copy(self, path: str, new_path: str) -> None:
        self._upload(self._base / path, new_path)

    def _delete(self, path: str) -> None:
        (self._base / path).unlink(missing_ok=True)

    def _delete_empty(self, folder: str) -> None:
        # NFS keeps files that are open elsewhere under names of its own; the next time they go.
        shutil.rmtree(os.fspath(self._base / folder), ignore_errors=True)

    def _sha256(self, path: str) -> str:
        return sha256_of(self._base / path)
