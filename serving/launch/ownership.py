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
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_START_TICKS = 22


def owner_mark() -> str:
    """Names this process so that no other, before or after it, is mistaken for it.

    Process id, clock ticks from the boot to its start, the boot's id, the namespace that process
    ids are of, and the host. None of them moves when the clock is set.
    """
    pid = os.getpid()
    return f"{pid}.{_start_ticks(pid)}.{_boot_id()}.{_pid_namespace()}.{socket.gethostname()}"


def is_orphaned(mark: str) -> bool:
    """Whether the process that a mark names ran on this machine and is gone, beyond doubt."""
    parts = mark.split(".", 4)
    if len(parts) < 5 or parts[4] != socket.gethostname():
        return False
    pid, ticks, boot_id, namespace, _ = parts
    if boot_id != _boot_id():
        return True
    if namespace != _pid_namespace() or not pid.isdigit():
        return False
    try:
        return str(_start_ticks(int(pid))) != ticks
    except (FileNotFoundError, ProcessLookupError):
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


def _start_ticks(pid: int) -> int:
    """Reads when a process was started, in clock ticks since the boot (proc(5), field 22)."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    # The second field, the name, is in parentheses and may hold spaces and parentheses.
    after_name = stat.rpartition(")")[2].split()
    return int(after_name[_START_TICKS - 3])


def _boot_id() -> str:
    return _BOOT_ID.read_text().strip()


def _pid_namespace() -> str:
    link = Path("/proc/self/ns/pid").readlink()
    return "".join(character for character in str(link) if character.isdigit())


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
