"""Where versions are kept: the operations that local disks and object stores must both offer."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path


class PublishError(Exception):
    """A push that failed; the message says whether anything of it is visible to a server."""


class Storage(ABC):
    """A model's base directory. Paths given to its methods are relative to it, with `/`.

    Attributes:
        errors: what its methods raise when the storage fails; a PublishError is raised besides.
        unreadable: the same, and what reading raises when a file does not hold what it should.
    """

    errors: tuple[type[Exception], ...] = (OSError,)
    unreadable: tuple[type[Exception], ...] = (OSError, ValueError)

    def __init__(self, base: str) -> None:
        self.base = base

    @abstractmethod
    def lock(self) -> AbstractContextManager[None]:
        """Keeps other writers out for as long as the context lasts, where that can be done."""

    @abstractmethod
    def names(self, folder: str = "") -> list[str]:
        """Returns the names of what a folder holds; an absent folder holds nothing."""

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Whether a file is there."""

    @abstractmethod
    def read(self, path: str) -> str | None:
        """Returns a file's text, or None when there is none.

        Raises UnicodeDecodeError when it is not text.
        """

    @abstractmethod
    def write(self, path: str, text: str) -> None:
        """Replaces a file: a reader sees the old text or the new one."""

    @abstractmethod
    def stage(
        self, source: Path, checksums: Mapping[str, str]
    ) -> AbstractContextManager[Callable[[str], None]]:
        """Copies a model in under a name that no server parses as a version, and verifies it.

        The context yields a function that reveals the model under the name it is given. What was
        not revealed is removed on leaving.

        Raises:
            PublishError: the copy failed or its checksums differ.
        """

    @abstractmethod
    def copy_in(self, source: Path, folder: str) -> None:
        """Copies a folder of small files in, replacing what was there."""

    @abstractmethod
    def checksums(self, folder: str) -> dict[str, str]:
        """Returns the SHA-256 of every file in a folder by its relative path."""

    @abstractmethod
    def rename(self, name: str, new_name: str) -> None:
        """Renames a version's directory."""

    @abstractmethod
    def remove(self, folder: str) -> None:
        """Removes a folder so that no server starts to load what is left of it meanwhile."""

    @abstractmethod
    def uri(self, folder: str) -> str:
        """Returns the full path or URI of a folder."""


def differences(expected: Mapping[str, str], found: Mapping[str, str]) -> str:
    """Names the files that are missing, unexpected or different, for an error message."""
    parts = [f"{path} is missing" for path in expected if path not in found]
    parts += [f"{path} was not expected" for path in found if path not in expected]
    parts += [
        f"{path} differs" for path in expected if found.get(path, expected[path]) != expected[path]
    ]
    return ", ".join(parts[:5]) + (f" and {len(parts) - 5} more" if len(parts) > 5 else "")


def not_pushed(base: str, error: Exception) -> str:
    """Says that a push failed before anything was visible, and why."""
    where = getattr(error, "filename", None)
    why = getattr(error, "strerror", None) or error
    return f"Could not push to {base}: {why}{f' ({where})' if where else ''}. Nothing was pushed."
