"""Writing a file so that a reader, a crash and a full disk meet the old one or the new one."""

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PARTIAL = re.compile(r"\..+\.[0-9a-f]{8}\.partial(\..+)?")


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file, and the folders above it, so that it is on disk when this returns.

    Raises:
        OSError: it could not be written; an earlier file of that name is as it was.
    """
    with replacing(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path, suffix: str = "") -> Iterator[Path]:
    """Gives a path to write to, which becomes `path` at the end of the `with` block.

    When the block raises, what was written is removed and `path` is as it was.

    Args:
        path: what is replaced.
        suffix: of the path to write to, for libraries that choose a format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own for every writer: two of them may be at work.
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial{suffix}")
    try:
        yield partial
        flush(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    flush(path.parent)


def is_partial(name: str) -> bool:
    """Whether a file's name is one that `replacing` gives; a kill can leave such a file behind."""
    return _PARTIAL.fullmatch(name) is not None


def flush(path: Path) -> None:
    """Waits until a file's content, or a folder's list of names, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
