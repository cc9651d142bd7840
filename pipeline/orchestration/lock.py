"""One run at a time on a workdir, and one schedule; nodes of an orchestrator beside each other."""

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

    The kernel lets go of the lock when its holder dies, however it dies.

    Args:
        workdir: what is held; processes of other kinds may hold it too.
        kind: what holds it.
        wait: for the end of another process of that kind, instead of raising.

    Raises:
        WorkdirBusy: at once, when another process of that kind holds it.
    """
    with _hold(workdir / f"{kind}.lock", fcntl.LOCK_EX, wait):
        yield


@contextmanager
def shared(workdir: Path, kind: str = "run", *, wait: bool = False) -> Iterator[None]:
    """Holds the workdir together with others that share it, against anyone who wants it alone.

    Arguments are those of `exclusive`.

    Raises:
        WorkdirBusy: at once, when another process of that kind holds it alone.
    """
    with _hold(workdir / f"{kind}.lock", fcntl.LOCK_SH, wait):
        yield


@contextmanager
def _hold(path: Path, mode: int, wait: bool) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            busy = f"another {path.stem} (process {holder}) is working in {path.parent}"
            if not wait:
                raise WorkdirBusy(f"{busy}; wait for it, or choose another --workdir") from None
            logger.info("%s; waiting for its end", busy)
            fcntl.flock(lock, mode)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
