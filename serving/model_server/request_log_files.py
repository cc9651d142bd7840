"""The TFRecord files of a request log: of bounded size, each written by one log only."""

from __future__ import annotations

import itertools
import logging
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import tensorflow as tf

_logger = logging.getLogger(__name__)

# Two logs with one prefix get files of their own: the number is never given twice in a process.
_numbers = itertools.count(1)
_open_paths: set[Path] = set()

_FRAME_BYTES = 16
"""What TFRecord adds to each record: its length and two checksums."""
_SECONDS_BEFORE_TRYING_AGAIN = 10.0


class RequestLogFiles:
    """Files `<prefix>-<start time>-<pid>-<number>.tfrecord`. Thread-safe.

    One goes on in the next at `max_file_bytes`. When one is begun, the oldest files with the prefix
    go, those of earlier processes included, until all fit into `max_total_bytes`.
    """

    def __init__(self, prefix: str, max_file_bytes: int, max_total_bytes: int) -> None:
        self._prefix = Path(f"{prefix}-x").name.removesuffix("-x")
        self.folder = Path(f"{prefix}-x").parent
        self._max_file_bytes = min(max_file_bytes, max_total_bytes)
        self._max_total_bytes = max_total_bytes
        self._lock = threading.Lock()
        self._writer: Any = None
        self._path = Path()
        self._size = 0
        self._is_closed = False
        self._try_again = 0.0

    def write(self, record: bytes) -> bool:
        """Appends a record; returns False if the log is closed or failed a moment ago.

        Raises OSError or tf.errors.OpError if the record cannot be written. The next one then goes
        to a file of its own: what follows half a record could not be read.
        """
        size = len(record) + _FRAME_BYTES
        with self._lock:
            if self._is_closed or time.monotonic() < self._try_again:
                return False
            try:
                if self._size + size > self._max_file_bytes or not self._is_there():
                    self._begin_file()
                self._writer.write(record)
                self._writer.flush()
            except (OSError, tf.errors.OpError):
                self._try_again = time.monotonic() + _SECONDS_BEFORE_TRYING_AGAIN
                self._end_file()
                raise
            self._size += size
            return True

    def close(self) -> None:
        """Ends the file; nothing is written after this."""
        with self._lock:
            self._is_closed = True
            self._end_file()

    def _is_there(self) -> bool:
        # Retention may have removed a file to which nothing was written for long.
        return self._writer is not None and self._path.exists()

    def _begin_file(self) -> None:
        self._end_file()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_oldest()
        stamp = time.strftime("%Y%m%dT%H%M%S")
        while True:
            name = f"{self._prefix}-{stamp}-{os.getpid()}-{next(_numbers)}.tfrecord"
            self._path = self.folder / name
            if not self._path.exists():
                break
        self._writer = tf.io.TFRecordWriter(str(self._path))
        self._size = 0
        _open_paths.add(self._path)

    def _end_file(self) -> None:
        writer, self._writer = self._writer, None
        _open_paths.discard(self._path)
        if writer is not None:
            try:
                writer.close()
            except (OSError, tf.errors.OpError) as error:
                _logger.error("request log %s not closed: %s", self._path, error)

    def _remove_oldest(self) -> None:
        name = re.compile(rf"{re.escape(self._prefix)}-\d{{8}}T\d{{6}}-\d+(-\d+)?\.tfrecord")
        files = [path for path in self.folder.iterdir() if name.fullmatch(path.name)]
        states = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in files)
        surplus = sum(size for _, size, _ in states) + self._max_file_bytes - self._max_total_bytes
        for _, size, path in states:
            if surplus <= 0:
                break
            if path not in _open_paths:
                path.unlink(missing_ok=True)
                surplus -= size
                _logger.info("request log %s removed: there is room for newer ones only", path)
