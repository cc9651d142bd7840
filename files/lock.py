"""Locks that the kernel takes back when their holder dies, however it dies.

`filelock` has no lock that several may share and does not name the holder, so this is `flock`.
"""

import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)


class WorkdirBusy(Exception):
    """Another process of the same kind holds the workdir."""


@contextmanager
def exclusive(workdir: Path, kind: str = "run", *, wait: bool = False) -> Iterator[None]:
    """Holds the workdir for the length of a `with` block.

    Args:
        workdir: what is held; processes of other kinds may hold it too.
        kind: what holds it.
        wait: for the end of another process of that kind, instead of raising.

    Raises:
        WorkdirBusy: at once, when another process of that kind holds it.
    """
    with _hold(workdir, kind, shared=False, wait=wait):
        yield


@contextmanager
def shared(workdir: Path, kind: str = "run", *, wait: bool = False) -> Iterator[None]:
    """Holds the workdir together with others that share it, against anyone who wants it alone.

    Arguments are those of `exclusive`.

    Raises:
        WorkdirBusy: at once, when another process of that kind holds it alone.
    """
    with _hold(workdir, kind, shared=True, wait=wait):
        yield


@contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[int]:
    """Holds a file, which is made if need be, or a folder; yields its descriptor.

    A process that inherits the descriptor holds the lock as well.

    Raises:
        BlockingIOError: without `wait`, when another process holds it.
    """
    if path.is_dir():
        flags = os.O_RDONLY
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags, 0o644)
    try:
        mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(descriptor, mode | (0 if wait else fcntl.LOCK_NB))
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether another process holds an existing file or folder alone."""
    try:
        with locked(path, shared=True, wait=False):
            return False
    except BlockingIOError:
        return True


def holder_of(path: Path) -> str:
    """Returns what the holder of a lock file wrote into it, its process id."""
    return path.read_text().strip() or "unknown"


@contextmanager
def _hold(workdir: Path, kind: str, *, shared: bool, wait: bool) -> Iterator[None]:
    path = workdir / f"{kind}.lock"
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder is where a lock file must be", str(path))
    try:
        with locked(path, shared=shared, wait=False) as descriptor:
            _sign(descriptor)
            yield
            return
    except BlockingIOError:
        busy = f"another {kind} (process {holder_of(path)}) is working in {workdir}"
        if not wait:
            raise WorkdirBusy(f"{busy}; wait for it, or choose another --workdir") from None
    logger.info("%s; waiting for its end", busy)
    with locked(path, shared=shared) as descriptor:
        _sign(descriptor)
        yield


def _sign(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
