"""Versions where a folder cannot be renamed, or not at once: file by file, `saved_model.pb` last.

A server that looks too early finds nothing it could take for a model. Removal goes the other way
round, `saved_model.pb` first. `docs/push.md` says what is weaker here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from serving.versions.storage import PublishError, Storage, differences

_SAVED_MODEL = "saved_model.pb"


class FileByFileStorage(Storage):
    """A base directory without an atomic rename of folders."""

    @abstractmethod
    def _files(self, folder: str) -> list[str]:
        """Returns the paths of all files below a folder, relative to it."""

    @abstractmethod
    def _upload(self, source: Path, path: str) -> None:
        """Copies a local file in, replacing what was there, and makes the folders above it."""

    @abstractmethod
    def _copy(self, path: str, new_path: str) -> None:
        """Copies a file that is there already."""

    @abstractmethod
    def _delete(self, path: str) -> None:
        """Removes a file."""

    @abstractmethod
    def _delete_empty(self, folder: str) -> None:
        """Removes what is left of a folder without files, where there are folders."""

    @abstractmethod
    def _sha256(self, path: str) -> str:
        """Reads a file and returns its SHA-256, in hexadecimal."""

    @contextmanager
    def stage(self, source: Path, checksums: Mapping[str, str]) -> Iterator[Callable[[str], None]]:
        """Stages nothing: the copy happens when the name is known, `saved_model.pb` last."""
        rest = {path: digest for path, digest in checksums.items() if path != _SAVED_MODEL}

        def reveal(name: str) -> None:
            try:
                self._upload_all(source, name, list(rest))
                self._verify(name, rest)
                self._upload_all(source, name, [_SAVED_MODEL])
                self._verify(name, checksums)
            except self.errors as error:
                self._take_back(name, error)
            except PublishError as error:
                self._take_back(name, error)

        yield reveal

    def _take_back(self, name: str, cause: Exception) -> None:
        what = f"Could not push to {self.uri(name)}: {cause}."
        try:
            self.remove(name)
        except self.errors as error:
            raise PublishError(
                f"{what} What was copied could not be removed either ({error}): a server may load "
                "it; remove it by hand."
            ) from cause
        raise PublishError(f"{what} Nothing was pushed.") from cause

    def copy_in(self, source: Path, folder: str) -> None:
        self.remove(folder)
        paths = [path for path in sorted(source.rglob("*")) if path.is_file()]
        self._upload_all(source, folder, [path.relative_to(source).as_posix() for path in paths])

    def checksums(self, folder: str) -> dict[str, str]:
        return {path: self._sha256(f"{folder}/{path}") for path in self._files(folder)}

    def rename(self, name: str, new_name: str) -> None:
        """Copies, then removes: for a moment both are there, and only the old one is a version."""
        for path in self._files(name):
            self._copy(f"{name}/{path}", f"{new_name}/{path}")
        self.remove(name)

    def remove(self, folder: str) -> None:
        for path in sorted(self._files(folder), key=lambda path: path != _SAVED_MODEL):
            self._delete(f"{folder}/{path}")
        self._delete_empty(folder)

    def _upload_all(self, source: Path, folder: str, paths: Sequence[str]) -> None:
        for path in paths:
            self._upload(source / path, f"{folder}/{path}")

    def _verify(self, folder: str, checksums: Mapping[str, str]) -> None:
        found = self.checksums(folder)
        if found != dict(checksums):
            raise PublishError(f"the copy is not what was blessed: {differences(checksums, found)}")
