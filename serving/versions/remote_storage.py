"""Versions on whatever `tf.io.gfile` reaches (`gs://`, `hdfs://`, ...): no rename, no lock.

An object store has no directories to rename, so a version is copied into place file by file with
`saved_model.pb` last: a server that looks too early finds nothing it could take for a model.
Removal goes the other way round, `saved_model.pb` first. `docs/push.md` says what is weaker here.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from serving.versions.storage import PublishError, Storage, differences

_SAVED_MODEL = "saved_model.pb"


class RemoteStorage(Storage):
    """A base directory that is reached through `tf.io.gfile`. Only one writer at a time is safe."""

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps nobody out: object stores have no lock that dies with its holder."""
        tf.io.gfile.makedirs(self.uri(".versions"))
        yield

    def names(self, folder: str = "") -> list[str]:
        try:
            return sorted(name.rstrip("/") for name in tf.io.gfile.listdir(self.uri(folder)))
        except tf.errors.NotFoundError:
            return []

    def exists(self, path: str) -> bool:
        return bool(tf.io.gfile.exists(self.uri(path)))

    def read(self, path: str) -> str | None:
        try:
            with tf.io.gfile.GFile(self.uri(path), "r") as file:
                return file.read()
        except tf.errors.NotFoundError:
            return None

    def write(self, path: str, text: str) -> None:
        tf.io.gfile.makedirs(self.uri(path).rpartition("/")[0])
        # Renaming an object replaces another one at once; not every file system truncates at "w".
        temporary = self.uri(f"{path}.tmp")
        with tf.io.gfile.GFile(temporary, "w") as file:
            file.write(text)
        tf.io.gfile.rename(temporary, self.uri(path), overwrite=True)

    @contextmanager
    def stage(self, source: Path, checksums: Mapping[str, str]) -> Iterator[Callable[[str], None]]:
        """Stages nothing: the copy happens when the name is known, `saved_model.pb` last."""

        def reveal(name: str) -> None:
            try:
                self._copy_files(source, name, [path for path in checksums if path != _SAVED_MODEL])
                self._verify(name, {p: c for p, c in checksums.items() if p != _SAVED_MODEL})
                self._copy_files(source, name, [_SAVED_MODEL])
                self._verify(name, checksums)
            except (tf.errors.OpError, OSError, PublishError) as error:
                self.remove(name)
                raise PublishError(
                    f"Could not push to {self.uri(name)}: {error}. Nothing was pushed."
                ) from error

        yield reveal

    def copy_in(self, source: Path, folder: str) -> None:
        self.remove(folder)
        paths = [path for path in sorted(source.rglob("*")) if path.is_file()]
        self._copy_files(source, folder, [path.relative_to(source).as_posix() for path in paths])

    def checksums(self, folder: str) -> dict[str, str]:
        found = {}
        for path in self._files(folder):
            with tf.io.gfile.GFile(self.uri(f"{folder}/{path}"), "rb") as file:
                found[path] = hashlib.sha256(file.read()).hexdigest()
        return found

    def rename(self, name: str, new_name: str) -> None:
        """Copies, then removes: for a moment both are there, and only the old one is a version."""
        for path in self._files(name):
            self._make_parent(new_name, path)
            tf.io.gfile.copy(self.uri(f"{name}/{path}"), self.uri(f"{new_name}/{path}"), True)
        self.remove(name)

    def remove(self, folder: str) -> None:
        files = self._files(folder)
        for path in sorted(files, key=lambda path: path != _SAVED_MODEL):
            tf.io.gfile.remove(self.uri(f"{folder}/{path}"))
        # An object store has no directories; what has some may keep empty ones.
        with contextlib.suppress(tf.errors.NotFoundError):
            tf.io.gfile.rmtree(self.uri(folder))

    def uri(self, folder: str) -> str:
        return f"{self.base}/{folder}" if folder else self.base

    def _files(self, folder: str) -> list[str]:
        root = self.uri(folder)
        paths = [
            f"{directory.rstrip('/')}/{name}"
            for directory, _, names in tf.io.gfile.walk(root)
            for name in names
        ]
        # A listing may name what is not there: removed just now, or of a longer prefix.
        return [path.removeprefix(f"{root}/") for path in paths if tf.io.gfile.exists(path)]

    def _make_parent(self, folder: str, path: str) -> None:
        tf.io.gfile.makedirs(self.uri(f"{folder}/{path}").rpartition("/")[0])

    def _copy_files(self, source: Path, folder: str, paths: list[str]) -> None:
        for path in paths:
            self._make_parent(folder, path)
            tf.io.gfile.copy(str(source / path), self.uri(f"{folder}/{path}"), overwrite=True)

    def _verify(self, folder: str, checksums: Mapping[str, str]) -> None:
        found = self.checksums(folder)
        if found != dict(checksums):
            raise PublishError(f"the copy is not what was blessed: {differences(checksums, found)}")
