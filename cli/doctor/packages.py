"""The installed packages against uv.lock, and the compiler that some of them take."""

import shutil
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import cache_from_source, find_spec
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.utils import canonicalize_name

from cli.doctor.finding import Finding, State
from pipeline.settings.config import Config
from pipeline.settings.paths import ROOT

_COMPILERS = ("c++", "g++", "clang++")
_NAMED = 5

Package = Mapping[str, Any]


def packages(_config: Config) -> list[Finding]:
    """What is installed, missing or of another version."""
    wanted = locked_packages(tomllib.loads((ROOT / "uv.lock").read_text()))
    installed = installed_versions(map(Path, sys.path))
    return [
        judge_packages({name: entry["version"] for name, entry in wanted.items()}, installed),
        judge_compiler(
            sorted(name for name, entry in wanted.items() if not entry.get("wheels")),
            installed,
            next(filter(None, map(shutil.which, _COMPILERS)), None),
        ),
        *judge_byte_code(keeps=not sys.dont_write_bytecode, compiled=_is_compiled("tensorflow")),
    ]


def judge_packages(wanted: Mapping[str, str], installed: Mapping[str, str]) -> Finding:
    """Compares versions by name."""
    missing = sorted(set(wanted) - set(installed))
    other = sorted(name for name in wanted if installed.get(name, wanted[name]) != wanted[name])
    if missing:
        return Finding(
            subject="packages",
            state=State.BROKEN,
            text=f"{len(missing)} of {len(wanted)} are missing: {_some(missing)}",
            advice="`uv sync` installs them",
        )
    if other:
        differing = [f"{name} {installed[name]} for {wanted[name]}" for name in other]
        return Finding(
            subject="packages",
            state=State.WARNING,
            text=f"{len(other)} of {len(wanted)} are not those of uv.lock: {_some(differing)}",
            advice="`uv sync` installs the versions that were tested",
        )
    text = f"all {len(wanted)} as in uv.lock"
    return Finding(subject="packages", state=State.OK, text=text)


def judge_byte_code(*, keeps: bool, compiled: bool) -> list[Finding]:
    """Says when every process compiles all that it imports, 10 s of processor time each."""
    if keeps or compiled:
        return []
    return [
        Finding(
            subject="byte code",
            state=State.WARNING,
            text="PYTHONDONTWRITEBYTECODE is set and the packages are not compiled",
            advice="`uv sync --compile-bytecode` compiles them once; every process is 10 s faster",
        )
    ]


def _is_compiled(module: str) -> bool:
    spec = find_spec(module)
    return bool(spec and spec.origin and Path(cache_from_source(spec.origin)).exists())


def judge_compiler(
    from_source: list[str], installed: Mapping[str, str], compiler: str | None
) -> Finding:
    """Says whether packages without a wheel can be, or need be, built."""
    names = ", ".join(from_source)
    if compiler:
        return Finding(subject="C++ compiler", state=State.OK, text=compiler)
    if set(from_source) <= set(installed):
        text = f"none, and none needed: {names} are built already"
        return Finding(subject="C++ compiler", state=State.NOTE, text=text)
    return Finding(
        subject="C++ compiler",
        state=State.BROKEN,
        text=f"none, but {names} come as source",
        advice="install one: `apt-get install g++`",
    )


def locked_packages(lock: Mapping[str, Any]) -> dict[str, Package]:
    """Returns what the project needs to run here, by name: no tools of development.

    Args:
        lock: the content of uv.lock.
    """
    by_name: dict[str, list[Package]] = {}
    for entry in lock["package"]:
        by_name.setdefault(entry["name"], []).append(entry)
    root = next(entry for entry in lock["package"] if "virtual" in entry["source"])
    found: dict[str, Package] = {}
    waiting = list(_dependencies(root, ()))
    while waiting:
        dependency = waiting.pop()
        entry = _chosen(by_name[dependency["name"]], dependency.get("version"))
        extras = tuple(dependency.get("extra", ()))
        if entry["name"] in found and not extras:
            continue
        is_new = entry["name"] not in found
        found[entry["name"]] = entry
        if is_new or extras:
            waiting += _dependencies(entry, extras)
    return found


def installed_versions(folders: Iterable[Path]) -> dict[str, str]:
    """Returns versions by name, from the names of the folders that hold packages' metadata.

    Reading the metadata of 250 packages from a disk takes seconds.
    """
    found: dict[str, str] = {}
    for folder in folders:
        for path in folder.glob("*.dist-info"):
            name, _, version = path.name.removesuffix(".dist-info").partition("-")
            found.setdefault(canonicalize_name(name), version)
    return found


def _dependencies(entry: Package, extras: tuple[str, ...]) -> Iterator[Package]:
    optional = entry.get("optional-dependencies", {})
    for dependency in [*entry.get("dependencies", ()), *(d for e in extras for d in optional[e])]:
        marker = dependency.get("marker")
        if marker is None or Marker(marker).evaluate():
            yield dependency


def _chosen(entries: list[Package], version: str | None) -> Package:
    return next(entry for entry in entries if version in (None, entry["version"]))


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
