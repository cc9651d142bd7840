"""Tells network and user-space file systems, which promise less, from local ones."""

from __future__ import annotations

import re
from pathlib import Path

# `fuseblk` (a local disk with NTFS or exFAT) is left out on purpose.
_NETWORK = frozenset(
    ("nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "9p", "afs", "fuse", "glusterfs", "lustre")
)
_MOUNTS = Path("/proc/self/mountinfo")


def network_file_system(path: Path, mounts: str | None = None) -> str | None:
    """Returns the type of the file system that holds a path (`nfs4`, `fuse.gcsfuse`, ...).

    Args:
        path: absolute; need not exist.
        mounts: the text of `/proc/self/mountinfo` (proc(5)); None: this process's.

    Returns:
        None for a local file system, and where the kernel does not tell.
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text(errors="surrogateescape")
        except OSError:
            return None
    existing = next((place for place in (path, *path.parents) if place.exists()), path)
    resolved = existing.resolve()
    kind, length = "", -1
    for line in mounts.splitlines():
        mount, _, rest = line.partition(" - ")
        fields = mount.split()
        point = Path(_unescaped(fields[4])) if len(fields) > 4 and rest else None
        # What was mounted later hides what lies under the same path.
        if point and resolved.is_relative_to(point) and len(point.parts) >= length:
            kind, length = rest.split()[0], len(point.parts)
    return kind if kind in _NETWORK or kind.startswith("fuse.") else None


def _unescaped(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)
