"""The data, and what runs have left in the workdir."""

import os
import socket
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from cli.doctor.finding import Finding, State
from cli.doctor.machine import existing_parent
from cli.verify import check_signing_key
from data.fashion_mnist import OFFICIAL_FILES, default_sources
from data.quarantine import quarantined
from data.sources import PUBLIC_URLS, FolderSource
from files.lock import holder_of, is_locked
from pipeline.settings.config import Config
from pipeline.settings.errors import UsageError
from serving.launch.ownership import orphaned_folders
from serving.versions.store import VersionStore

_CONNECT_SECONDS = 1.0
# Checking reads the whole file.
_LARGEST_CHECKED = 100e6


def data(config: Config) -> list[Finding]:
    """The images of a run, or where they would come from."""
    folder = config.base_dir
    left_out = [
        Finding(
            subject="data",
            state=State.NOTE,
            text=f"span {number} is quarantined: {entry.reason}",
            advice=f"`runner.py data release {number}` takes it back",
        )
        for number, entry in quarantined(config.data_root).items()
    ]
    return [_base_files(config, folder), *left_out]


def _base_files(config: Config, folder: Path) -> Finding:
    if not config.fetches_data:
        state = State.OK if folder.is_dir() else State.BROKEN
        text = f"{folder}" if folder.is_dir() else f"there is no {folder}"
        return Finding(subject="data", state=state, text=text)
    there = [file for file in OFFICIAL_FILES if (folder / file.name).exists()]
    corrupt = [file.name for file in there if not file.is_genuine(folder / file.name)]
    if corrupt:
        text = f"{', '.join(corrupt)} in {folder} is corrupt"
        advice = "the next run, or `runner.py data fetch`, gets it again"
        return Finding(subject="data", state=State.WARNING, text=text, advice=advice)
    if len(there) == len(OFFICIAL_FILES):
        text = f"four verified files in {folder}"
        return Finding(subject="data", state=State.OK, text=text)
    return Finding(
        subject="data",
        state=State.NOTE,
        text=f"not in {folder} yet; {_source(config)}",
        advice="the first run gets it, as does `runner.py data fetch`; --preset smoke needs none",
    )


def _source(config: Config) -> str:
    names = [file.name for file in OFFICIAL_FILES]
    for source in default_sources(config.data.source):
        if isinstance(source, FolderSource) and all(
            (source.folder / name).is_file() for name in names
        ):
            return f"{source.description} has it"
    return f"it would come from {', '.join(PUBLIC_URLS)} or apt-get (not tried)"


def workdir(config: Config) -> list[Finding]:
    """Whether runs can write, and whether one is at work."""
    place = existing_parent(config.workdir)
    if not os.access(place, os.W_OK | os.X_OK):
        return [
            Finding(
                subject="workdir",
                state=State.BROKEN,
                text=f"{place} is not writable",
                advice="choose another --workdir",
            )
        ]
    holders = {
        path.stem: holder_of(path)
        for path in sorted(config.workdir.glob("*.lock"))
        if is_locked(path)
    }
    if holders:
        busy = ", ".join(f"a {kind} (process {pid})" for kind, pid in holders.items())
        text = f"{busy} is working in {config.workdir}"
        return [Finding(subject="workdir", state=State.NOTE, text=text)]
    there = "" if config.workdir.exists() else ", made by the first run"
    return [Finding(subject="workdir", state=State.OK, text=f"{config.workdir}{there}")]


def metadata(config: Config) -> list[Finding]:
    """The record of runs: a sound SQLite file, or PostgreSQL that answers."""
    if config.metadata.host:
        return [_postgresql(config.metadata.host, config.metadata.port)]
    path = config.metadata_path
    if not path.exists():
        text = "none yet; the first run makes it"
        return [Finding(subject="metadata", state=State.OK, text=text)]
    size = path.stat().st_size
    if size < _LARGEST_CHECKED and (defect := sqlite_defect(path)):
        return [
            Finding(
                subject="metadata",
                state=State.BROKEN,
                text=f"{path} is damaged: {defect}",
                advice="restore it, or move it away: runs then start without a history, and what "
                "is served stays served",
            )
        ]
    text = f"{path}, {size / 1e6:.1f} MB"
    return [Finding(subject="metadata", state=State.OK, text=text)]


def sqlite_defect(path: Path) -> str | None:
    """Returns what SQLite finds wrong with a file, or None."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            (answer,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        # A run that is writing holds it; that is not damage.
        return None if "locked" in str(error) else str(error)
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if answer == "ok" else str(answer)


def _postgresql(host: str, port: int) -> Finding:
    where = f"PostgreSQL at {host}:{port}"
    try:
        socket.create_connection((host, port), _CONNECT_SECONDS).close()
    except OSError as error:
        return Finding(
            subject="metadata",
            state=State.BROKEN,
            text=f"{where} does not answer: {error}",
            advice="start it, or leave metadata.host unset for a SQLite file",
        )
    return Finding(subject="metadata", state=State.OK, text=f"{where} answers")


def served(config: Config) -> list[Finding]:
    """What was pushed."""
    versions = VersionStore(config.serving_base).served()
    if not versions:
        text = f"nothing pushed to {config.serving_base} yet"
        return [Finding(subject="served", state=State.NOTE, text=text, advice="`runner.py run`")]
    text = f"version {versions[0].number}, the newest of {len(versions)}, in {config.serving_base}"
    return [Finding(subject="served", state=State.OK, text=text)]


def signing_key(config: Config) -> list[Finding]:
    """The key that signs what is pushed, if anything does."""
    if config.signing_key is None:
        return []
    try:
        check_signing_key(config)
    except UsageError as error:
        advice = "docs/push.md, Signed versions, says how to make a key"
        return [Finding(subject="signing", state=State.BROKEN, text=str(error), advice=advice)]
    text = f"what is pushed is signed with {config.signing_key}"
    mode = config.signing_key.stat().st_mode
    if mode & 0o077:
        return [
            Finding(
                subject="signing",
                state=State.WARNING,
                text=f"{text}, which other users of this machine can read or change",
                advice=f"chmod 600 {config.signing_key}",
            )
        ]
    return [Finding(subject="signing", state=State.OK, text=text)]


def leftovers(config: Config) -> list[Finding]:
    """What runs that were killed have left behind; later ones remove it."""
    dead = [path for path in config.serving_dir.glob(".staging-*") if not is_locked(path)]
    dead += orphaned_folders(Path(tempfile.gettempdir()))
    if not dead:
        return [Finding(subject="leftovers", state=State.OK, text="none")]
    return [
        Finding(
            subject="leftovers",
            state=State.NOTE,
            text=f"left by runs that were killed: {', '.join(map(str, dead))}",
            advice="the next run removes them",
        )
    ]
