"""Python, the platform, disk, memory and ports."""

import platform
import shutil
import tomllib
from collections.abc import Iterable
from pathlib import Path

import psutil
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from cli.doctor.finding import Finding, State
from pipeline.settings.config import Config
from pipeline.settings.paths import ROOT
from serving.launch.base import is_free
from serving.machine import memory_limit, usable_cpus

# TensorFlow's wheels ask for it.
_OLDEST_GLIBC = Version("2.27")
_MACHINES = ("x86_64",)

# A default run writes half a gigabyte of artifacts, and packages take three.
_LITTLE_DISK = 2e9
_NO_DISK = 0.2e9
_LITTLE_MEMORY = 3e9


def python(_config: Config) -> list[Finding]:
    """The interpreter, against pyproject.toml."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    return [judge_python(platform.python_version(), wanted)]


def judge_python(version: str, wanted: str) -> Finding:
    """Judges a version of Python by a specifier."""
    if Version(version) in SpecifierSet(wanted):
        return Finding(subject="Python", state=State.OK, text=version)
    return Finding(
        subject="Python",
        state=State.BROKEN,
        text=f"{version}, but TFX works on {wanted} only",
        advice="`uv run runner.py ...` gets and uses the right one",
    )


def system(_config: Config) -> list[Finding]:
    """Operating system, processor and C library."""
    library, version = platform.libc_ver()
    return [judge_system(platform.system(), platform.machine(), library, version)]


def judge_system(name: str, machine: str, library: str, version: str) -> Finding:
    """Judges what `platform` says about a machine."""
    text = f"{name} {machine}, {library or 'unknown C library'} {version}".rstrip()
    if name != "Linux" or machine not in _MACHINES:
        return Finding(
            subject="platform",
            state=State.BROKEN,
            text=f"{text}, but TFX's packages are built for Linux on x86_64",
            advice="run it in a container: the Dockerfile has what it takes",
        )
    if library != "glibc" or Version(version) < _OLDEST_GLIBC:
        return Finding(
            subject="platform",
            state=State.BROKEN,
            text=f"{text}, but TensorFlow needs glibc {_OLDEST_GLIBC} or newer",
            advice="run it in a container: the Dockerfile has what it takes",
        )
    return Finding(subject="platform", state=State.OK, text=text)


def disk(config: Config) -> list[Finding]:
    """Room for what a run writes."""
    place = existing_parent(config.workdir)
    free = shutil.disk_usage(place).free
    text = f"{free / 1e9:.1f} GB free at {place}"
    advice = "make room, or choose another --workdir"
    if free < _NO_DISK:
        return [Finding(subject="disk", state=State.BROKEN, text=text, advice=advice)]
    if free < _LITTLE_DISK:
        return [Finding(subject="disk", state=State.WARNING, text=text, advice=advice)]
    return [Finding(subject="disk", state=State.OK, text=text)]


def memory(_config: Config) -> list[Finding]:
    """Memory that a run can have now."""
    found = psutil.virtual_memory()
    limit = memory_limit() or found.total
    available, total = min(found.available, limit), min(found.total, limit)
    text = f"{available / 1e9:.1f} of {total / 1e9:.1f} GB available, {usable_cpus()} processors"
    if total < found.total or usable_cpus() < (psutil.cpu_count() or 1):
        text += f" (a container's limits; the machine has {found.total / 1e9:.1f} GB and "
        text += f"{psutil.cpu_count()} processors)"
    if available < _LITTLE_MEMORY:
        advice = "a run of the default preset takes about 3 GB; close something, or try smoke"
        return [Finding(subject="memory", state=State.WARNING, text=text, advice=advice)]
    return [Finding(subject="memory", state=State.OK, text=text)]


def ports(_config: Config) -> list[Finding]:
    """The ports that `serve` takes unless it is told others."""
    return judge_ports({8500: "--grpc-port", 8501: "--rest-port"})


def judge_ports(flags: dict[int, str]) -> list[Finding]:
    """Says for each port, which a flag of `serve` changes, whether it could be had."""
    free = [port for port in flags if is_free(port)]
    found = [
        Finding(
            subject=f"port {port}",
            state=State.NOTE,
            text=f"taken by {_holder(port)}",
            advice=f"if that is not a model server you want: `runner.py serve {flags[port]} N`",
        )
        for port in flags
        if port not in free
    ]
    if free:
        text = f"{' and '.join(map(str, free))} free, for `runner.py serve`"
        found.append(Finding(subject="ports", state=State.OK, text=text))
    return found


def existing_parent(path: Path) -> Path:
    """Returns the path, or the nearest folder above it that is there."""
    return next(place for place in (path, *path.parents) if place.exists())


def _holder(port: int) -> str:
    try:
        process = _listener(psutil.net_connections("tcp"), port)
        return f"process {process.pid} ({process.name()})" if process else "another program"
    except psutil.Error:
        return "another program"


def _listener(connections: Iterable[object], port: int) -> psutil.Process | None:
    for connection in connections:
        address, pid = getattr(connection, "laddr", None), getattr(connection, "pid", None)
        listens = getattr(connection, "status", "") == psutil.CONN_LISTEN
        if listens and address and address.port == port and pid:
            return psutil.Process(pid)
    return None
