"""A container's limits, as the files of its control groups say them."""

import os
from pathlib import Path

import pytest

from serving.machine import memory_limit, usable_cpus


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    return tmp_path / "cgroup"


def write(groups: Path, own: str, **files: str) -> tuple[Path, Path]:
    """Writes a tree of control groups, `__` for a slash in names, and the process's own group."""
    for name, text in files.items():
        folder, _, file = name.replace("__", "/").rpartition("/")
        path = groups / folder / file.replace("_", ".", 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    groups.mkdir(exist_ok=True)
    (groups.parent / "own").write_text(own)
    return groups, groups.parent / "own"


def test_without_limits_the_affinity_counts(groups: Path) -> None:
    where = write(groups, "0::/\n", cpu_max="max 100000\n", memory_max="max\n")
    assert usable_cpus(*where) == 64
    assert memory_limit(*where) is None


@pytest.mark.parametrize(("quota", "cpus"), [("200000", 2), ("150000", 2), ("5000", 1)])
def test_a_container_of_version_2_sees_its_own_group(groups: Path, quota: str, cpus: int) -> None:
    where = write(groups, "0::/\n", cpu_max=f"{quota} 100000\n", memory_max="1073741824\n")
    assert usable_cpus(*where) == cpus
    assert memory_limit(*where) == 2**30


def test_the_tightest_group_above_counts(groups: Path) -> None:
    where = write(
        groups,
        "0::/user/slice\n",
        cpu_max="max 100000",
        user__cpu_max="300000 100000",
        user__slice__cpu_max="800000 100000",
        user__slice__memory_max="max",
        user__memory_max="5000",
    )
    assert usable_cpus(*where) == 3
    assert memory_limit(*where) == 5000


def test_version_1_with_a_path_that_is_the_hosts(groups: Path) -> None:
    where = write(groups, "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n")
    for folder, name, text in (
        ("cpu,cpuacct", "cpu.cfs_quota_us", "400000"),
        ("cpu,cpuacct", "cpu.cfs_period_us", "100000"),
        ("memory", "memory.limit_in_bytes", "2147483648"),
    ):
        (groups / folder).mkdir(exist_ok=True)
        (groups / folder / name).write_text(text)
    assert usable_cpus(*where) == 4
    assert memory_limit(*where) == 2**31


def test_version_1_without_limits(groups: Path) -> None:
    where = write(groups, "4:memory:/\n3:cpu:/\n")
    for folder, name, text in (
        ("cpu", "cpu.cfs_quota_us", "-1"),
        ("cpu", "cpu.cfs_period_us", "100000"),
        ("memory", "memory.limit_in_bytes", "9223372036854771712"),
    ):
        (groups / folder).mkdir(exist_ok=True)
        (groups / folder / name).write_text(text)
    assert usable_cpus(*where) == 64
    assert memory_limit(*where) is None


def test_no_control_groups_at_all(groups: Path) -> None:
    assert usable_cpus(groups, groups / "nothing") == 64
    assert memory_limit(groups, groups / "nothing") is None
    assert usable_cpus() >= 1


@pytest.fixture
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


@pytest.mark.usefixtures("eight_cpus")
@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu.max": "1600000 100000\n"}, 8),
        ({"cpu.max": "nonsense\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "0\n"}, 8),
    ],
)
def test_a_quota_counts(tmp_path: Path, files: dict[str, str], count: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    own = tmp_path / "own"
    own.write_text("3:cpu:/\n" if any("/" in name for name in files) else "0::/\n")
    assert usable_cpus(tmp_path, own) == count


def test_an_affinity_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    assert usable_cpus(tmp_path) == 1
