"""Versions on whatever `tf.io.gfile` reaches (`gs://`, `hdfs://`, ...): no rename, no lock."""

import contextlib
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from serving.versions.file_by_file import FileByFileStorage


class RemoteStorage(FileByFileStorage):
    """A base directory that is reached through `tf.io.gfile`. Only one writer at a time is safe."""

    errors = (OSError, tf.errors.OpError)
    unreadable = (*errors, ValueError)

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
            with tf.io.gfile.GFile(self.uri(path), "rb") as file:
                return bytes(file.read()).decode()
        except tf.errors.NotFoundError:
            return None

    def write(self, path: str, text: str) -> None:
        self._make_parent(path)
        # Renaming an object replaces another one at once; not every file system truncates at "w".
        temporary = self.uri(f"{path}.tmp")
        with tf.io.gfile.GFile(temporary, "w") as file:
            file.write(text)
        tf.io.gfile.rename(temporary, self.uri(path), overwrite=True)

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

    def _upload(self, source: Path, path: str) -> None:
        self._make_parent(path)
        tf.io.gfile.copy(str(source), self.uri(path), overwrite=True)

    def _copy(self, path: str, new_path: str) -> None:
        self._make_parent(new_path)
        tf.io.gfile.copy(self.uri(path), self.uri(new_path), overwrite=True)

    def _delete(self, path: str) -> None:
        tf.io.gfile.remove(self.uri(path))

    def _delete_empty(self, folder: str) -> None:
        # An object store has no directories; what has some may keep empty ones.
        with contextlib.suppress(tf.errors.NotFoundError):
            tf.io.gfile.rmtree(self.uri(folder))

    def _sha256(self, path: str) -> str:
        with tf.io.gfile.GFile(self.uri(path), "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()

    def _make_parent(self, path: str) -> None:
        tf.io.gfile.makedirs(self.uri(path).rpartition("/")[0])
