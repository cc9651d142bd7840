"""Who may read what is pushed: modes and group that do not depend on the pusher's umask."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Permissions:
    """Of the files and folders of a model's base directory.

    Attributes:
        file_mode: permission bits of a file. A folder can also be entered by all who may read
            files in it.
        group: name or number of the group that owns them; None: the pusher's.
        lenient: what the file system does not permit is left as it is: many mounts have one owner
            and mode for all files, set by their options.
    """

    file_mode: int = 0o644
    group: str | None = None
    lenient: bool = False

    @classmethod
    def parse(cls, file_mode: str, group: str | None = None) -> Permissions:
        """Reads a mode in octal digits, as `chmod` takes it."""
        return cls(int(file_mode, 8), group)

    @property
    def folder_mode(self) -> int:
        """Permission bits of a folder; its owner may always write to it."""
        return self.file_mode | (self.file_mode & 0o444) >> 2 | 0o700

    def apply(self, path: Path) -> None:
        """Gives a file or folder its mode and group.

        Raises:
            OSError: it belongs to somebody else, or there is no such group.
        """
        try:
            path.chmod(self.folder_mode if path.is_dir() else self.file_mode)
            if self.group is not None:
                self._give_to_group(path, self.group)
        except PermissionError:
            if not self.lenient:
                raise

    def _give_to_group(self, path: Path, group: str) -> None:
        try:
            shutil.chown(path, group=int(group) if group.isdigit() else group)
        except LookupError as error:
            raise OSError(f"there is no group {group} (push.group)") from error

    def make_folder(self, path: Path) -> None:
        """Makes a folder, and those above it that are missing; those that are there stay as is."""
        if not path.exists():
            self.make_folder(path.parent)
            path.mkdir(exist_ok=True)
            self.apply(path)
