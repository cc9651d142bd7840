"""What a process may use of its machine: processors and memory, as its control groups limit them.

A container with two processors' time on a machine with 64 sees 64 of them, and the memory of all.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
# Version 1 writes a number near the largest one where there is no limit.
_UNLIMITED_BYTES = 2**60


def usable_cpus(cgroups: Path = _CGROUPS, own: Path = _OWN) -> int:
    """Returns how many processors can be kept busy: affinity and quota, rounded up."""
    count = len(os.sched_getaffinity(0))
    shares = [float(count)]
    for folder in _folders(cgroups, own, "cpu"):
        quota, period = _numbers(folder / "cpu.max")
        if quota is None:
            quota, _ = _numbers(folder / "cpu.cfs_quota_us")
            period, _ = _numbers(folder / "cpu.cfs_period_us")
        if quota and period and quota > 0:
            shares.append(quota / period)
    return max(1, math.ceil(min(shares)))


def memory_limit(cgroups: Path = _CGROUPS, own: Path = _OWN) -> int | None:
    """Returns the bytes of memory that the process and its group may use; None: no limit."""
    limits = []
    for folder in _folders(cgroups, own, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit, _ = _numbers(folder / name)
            if limit is not None and limit < _UNLIMITED_BYTES:
                limits.append(limit)
    return min(limits, default=None)


def _folders(cgroups: Path, own: Path, controller: str) -> Iterator[Path]:
    """Yields the folders of the process's group and those above it (cgroups(7)), inmost first.

    A container often sees its own group as the root, under the path that it has outside.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        roots = [cgroups / controllers, cgroups / controller] if controllers else [cgroups]
        root = next((root for root in roots if root.is_dir()), None)
        if root is None:
            continue
        inmost = root / path.lstrip("/")
        yield inmost
        yield from (parent for parent in inmost.parents if parent.is_relative_to(root))


def _numbers(file: Path) -> tuple[int | None, int | None]:
    """Reads a file of one or two numbers; None for `max` and for what is not there."""
    try:
        words = file.read_text().split()
        numbers = [None if word == "max" else int(word) for word in words[:2]]
    except (OSError, ValueError):
        numbers = []
    first, second, *_ = [*numbers, None, None]
    return first, second
