"""The disk that the workdir lies on, which can be full."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOM = 4 * 1024**3
# Where nothing can be mounted: what one file may hold.
_LARGEST_FILE = 64 * 1024


class Disk:
    """A tmpfs of its own for the workdir; without the right to mount, the folder as it is.

    Attributes:
        kind: which of the two, for the record.
        is_mounted: whether it is a tmpfs.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self.is_mounted = _mount("-t", "tmpfs", "-o", f"size={_ROOM}", "tmpfs", str(folder))
        self.kind = (
            "a tmpfs that is made too small"
            if self.is_mounted
            else f"RLIMIT_FSIZE of {_LARGEST_FILE} bytes"
        )

    @contextmanager
    def full(self, room: int) -> Iterator[int]:
        """Leaves `room` bytes free; yields what the run's RLIMIT_FSIZE must be, 0: none."""
        if not self.is_mounted:
            yield _LARGEST_FILE
            return
        size = shutil.disk_usage(self._folder).used + room
        self._resize(size)
        try:
            yield 0
        finally:
            self._resize(_ROOM)

    def close(self) -> None:
        """Unmounts it; what was on it is gone."""
        if self.is_mounted:
            subprocess.run(["umount", "-l", str(self._folder)], check=True)

    def _resize(self, size: int) -> None:
        _mount("-o", f"remount,size={size}", str(self._folder))


def _mount(*arguments: str) -> bool:
    if os.geteuid() != 0 or not shutil.which("mount"):
        return False
    return not subprocess.run(["mount", *arguments], capture_output=True).returncode


def size_of(path: Path) -> int:
    """Returns the bytes of a file, or of all below a folder, without what vanishes meanwhile."""
    total = 0
    for file in (path, *path.rglob("*")):
        try:
            total += file.lstat().st_size if file.is_file() else 0
        except FileNotFoundError:
            continue
    return total
