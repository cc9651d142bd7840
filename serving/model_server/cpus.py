"""How many processors this process may really use."""

from __future__ import annotations

import math
import os
from pathlib import Path


def usable_cpus(cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """The CPUs of this process's affinity mask, or fewer if its cgroup has a quota; at least 1.

    Reads the quota of cgroup v2 (`cpu.max`) or of v1 (`cpu.cfs_quota_us`) where a container sees
    its own: at the root of the mounted hierarchy.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _quota(cgroups)
    return max(1, min(count or 1, math.ceil(quota)) if quota else count or 1)


def _quota(cgroups: Path) -> float | None:
    """CPUs' worth of time that the cgroup grants, None for no limit."""
    try:
        quota, period = (cgroups / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroups / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroups / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    try:
        return int(quota) / int(period) if int(quota) > 0 else None
    except (ValueError, ZeroDivisionError):
        return None
