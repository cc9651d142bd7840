"""Who started a server, so that what a killed validation left behind can be told and removed."""

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

logger = logging.getLogger(__name__)

# In the environment of every server process, and a label of every container.
OWNER_VARIABLE = "INFRA_VALIDATOR_OWNER"
_FOLDER_PREFIX = "infra-validator-"


def owner_mark() -> str:
    """Names this process so that no other, before or after it, is mistaken for it."""
    return f"{os.getpid()}.{_started(os.getpid())}.{socket.gethostname()}"


def is_orphaned(mark: str) -> bool:
    """Whether the process that a mark names ran on this machine and is gone."""
    pid, _, rest = mark.partition(".")
    started, _, host = rest.partition(".")
    if host != socket.gethostname() or not (pid.isdigit() and started.isdigit()):
        return False
    try:
        return _started(int(pid)) != int(started)
    except psutil.NoSuchProcess:
        return True


def remove_orphaned_processes() -> None:
    """Kills server processes whose validation is gone."""
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(OWNER_VARIABLE)
            if mark and is_orphaned(mark):
                process.kill()
                logger.warning("killed model server %d, left by %s", process.pid, mark)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue


def _started(pid: int) -> int:
    """Returns when a process was started, in hundredths of a second, the kernel's own precision."""
    return round(psutil.Process(pid).create_time() * 100)


def orphaned_folders(root: Path) -> list[Path]:
    """Returns the folders that dead validations left in `root`."""
    return [
        folder
        for folder in root.glob(f"{_FOLDER_PREFIX}*")
        if is_orphaned(folder.name.removeprefix(_FOLDER_PREFIX).rpartition("-")[0])
    ]


@contextmanager
def work_folder(parent: Path | None) -> Iterator[Path]:
    """Makes a folder for one validation, and removes those that dead ones left."""
    root = parent or Path(tempfile.gettempdir())
    root.mkdir(parents=True, exist_ok=True)
    for leftover in orphaned_folders(root):
        shutil.rmtree(leftover, ignore_errors=True)
        logger.warning("removed %s, left by a validation that died", leftover)
    folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER_PREFIX}{owner_mark()}-", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
