"""Keeps a workdir small: what only runs of long ago needed is removed; imports nothing heavy.

Kept are the newest runs, the newest that ended with a verdict, and those of versions that are in
the serving directory, with all that they made or used: also what they found in the cache.
"""

import logging
import os
import re
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from files.whole import is_partial
from runs.result import RunResult
from serving.traffic.files import recordings_before
from serving.versions.store import VersionStore

if TYPE_CHECKING:
    from ml_metadata import MetadataStore
    from ml_metadata.proto import metadata_store_pb2

logger = logging.getLogger(__name__)

_RUN_CONTEXT = "pipeline_run"
# What TFX leaves beside a node's outputs after every run.
_SCRATCH = "scratch folders"
# Logs of runs are named after these, and the ids of runs have their date in them.
_DATED = re.compile(r"\d{4}-?\d{2}-?\d{2}")
# A file that is being written has its temporary name for seconds.
_PARTIAL_SECONDS = 3600.0


@dataclass(frozen=True)
class Cleaning:
    """What retention removes from a workdir.

    Attributes:
        kept_runs: the ids of the runs that stay.
        doomed: files and folders by kind; kinds of which nothing goes are left out.
        sizes: in bytes, by kind.
        failures: a sentence for each path that could not be removed.
    """

    kept_runs: list[str] = field(default_factory=list)
    doomed: dict[str, list[Path]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Says how much goes, in a line."""
        counts = ", ".join(f"{len(paths)} {kind}" for kind, paths in self.doomed.items())
        return f"{sum(self.sizes.values()) / 1e6:.1f} MB: {counts}"


@dataclass(frozen=True)
class Recorded:
    """Where what clients asked is recorded, and for how many days that is kept; 0: for ever."""

    directory: Path
    keep_days: int


@dataclass(frozen=True)
class _Run:
    """A run by its file; `started` is the file's time where the content is unreadable."""

    path: Path
    started: float
    has_verdict: bool = False


def clean_after_run(
    workdir: Path,
    serving_base: str,
    keep: int,
    connection: "metadata_store_pb2.ConnectionConfig | None",
    recorded: Recorded | None = None,
) -> None:
    """Does what `clean` does, and logs what went or why nothing did.

    Arguments are those of `clean`.
    """
    try:
        cleaning = clean(workdir, serving_base, keep, connection, recorded)
    except (Exception, KeyboardInterrupt) as error:
        logger.warning("%s was not cleaned: %s: %s", workdir, type(error).__name__, error)
        return
    if cleaning.doomed.keys() - {_SCRATCH}:
        logger.info("removed from %s: %s", workdir, cleaning)
    for failure in cleaning.failures:
        logger.warning(failure)


def clean(
    workdir: Path,
    serving_base: str,
    keep: int,
    connection: "metadata_store_pb2.ConnectionConfig | None",
    recorded: Recorded | None = None,
    *,
    dry_run: bool = False,
) -> Cleaning:
    """Removes what is kept for no run. The caller holds the workdir alone, except for a dry run.

    Artifacts are marked as deleted in the metadata before they go, so that TFX's cache does not
    hand them out. What cannot be removed stays, and is named.

    Args:
        workdir: where runs write.
        serving_base: the model's base path.
        keep: how many of the newest runs stay; 0: all.
        connection: of the metadata; None, or a file that does not exist: artifacts are left alone.
        recorded: what clients asked; None: it is left alone.
        dry_run: remove nothing.

    Raises:
        OSError: the serving directory or the workdir cannot be read; nothing was removed.
        RuntimeError: the metadata cannot be opened; nothing was removed.
    """
    if keep == 0:
        return _finished(Cleaning(), _recordings(recorded), dry_run=dry_run)
    runs = _newest_first(workdir / "runs")
    with _opened(connection) as store:
        # Settings of another model than one that was served from here may be in force.
        bases = [serving_base, *(str(base) for base in (workdir / "serving").glob("*/"))]
        kept = _kept(runs, keep, bases) | (_newest_in(store, keep) if store else set())
        doomed = _files(workdir, runs, kept, keep)
        outputs: list[Path] = []
        if store:
            outputs, scratch = _outputs(workdir.resolve() / "pipeline_root", store, kept)
            doomed["artifacts"] = outputs
            doomed[_SCRATCH] = scratch
        if store and outputs and not dry_run:
            _mark_deleted(store, outputs)
    return _finished(Cleaning(sorted(kept)), doomed | _recordings(recorded), dry_run=dry_run)


def _finished(cleaning: Cleaning, doomed: dict[str, list[Path]], *, dry_run: bool) -> Cleaning:
    """Removes what is doomed, unless this is a dry run, and says what that is."""
    for kind, paths in doomed.items():
        if paths:
            cleaning.doomed[kind] = paths
            cleaning.sizes[kind] = sum(map(_size, paths))
        for path in () if dry_run else paths:
            try:
                _remove(path)
            except OSError as error:
                cleaning.failures.append(f"{path} was not removed: {error.strerror}")
    return cleaning


def _recordings(recorded: Recorded | None) -> dict[str, list[Path]]:
    if recorded is None:
        return {}
    return {"recordings": recordings_before(recorded.directory, recorded.keep_days)}


def _newest_first(runs_dir: Path) -> list[_Run]:
    return sorted(map(_read, runs_dir.glob("*.json")), key=lambda run: run.started, reverse=True)


def _read(path: Path) -> _Run:
    try:
        result = RunResult.model_validate_json(path.read_bytes())
    except ValidationError:
        return _Run(path, path.stat().st_mtime)
    status = result.status
    return _Run(path, result.started_at.timestamp(), status.is_served or status.is_refusal)


def _kept(runs: list[_Run], keep: int, serving_bases: Collection[str]) -> set[str]:
    """Returns the runs that stay, as far as files tell.

    Accidents do not count against runs with a verdict: many of them in a row, such as a week
    without a network, leave the newest verdicts on record.
    """
    newest = runs[:keep] + [run for run in runs if run.has_verdict][:keep]
    versions = [each for base in serving_bases for each in VersionStore(base).versions()]
    present = {each.record.run_id for each in versions if each.directory and each.record}
    return {run.path.stem for run in newest} | present


def _newest_in(store: "MetadataStore", keep: int) -> set[str]:
    """Returns the newest runs that the metadata has: some may be at work and have no result yet."""
    from ml_metadata import ListOptions, OrderByField

    options = ListOptions(
        limit=keep,
        order_by=OrderByField.CREATE_TIME,
        is_asc=False,
        filter_query=f"type = '{_RUN_CONTEXT}'",
    )
    return {context.name for context in store.get_contexts(options)}


def _files(workdir: Path, runs: list[_Run], kept: set[str], keep: int) -> dict[str, list[Path]]:
    """Returns by kind what goes, apart from artifacts.

    What belongs to no run by its name goes if it was last written before the oldest of the newest
    runs began.
    """
    gone = {run.path.stem for run in runs} - kept
    since = runs[keep - 1].started if len(runs) > keep else 0.0

    def old(folder: str, pattern: str = "*") -> list[Path]:
        return [path for path in (workdir / folder).glob(pattern) if _written(path) < since]

    return {
        "runs": [run.path for run in runs if run.path.stem in gone],
        "logs": [
            log
            for log in old("logs", "*.log")
            if log.stem in gone or (log.stem not in kept and _DATED.search(log.stem))
        ],
        "reports": [page for page in old("reports") if page.is_dir() and page.name not in kept],
        "checkpoints": old("checkpoints"),
        "searches": old("tuning"),
        "traffic records": [path for path in old("traffic", "**/*") if _goes_with_runs(path)],
        "partial files": list(_partial_files(workdir)),
    }


def _goes_with_runs(path: Path) -> bool:
    """Whether a file under `traffic/` may go; recordings go by days, labels are a person's work."""
    return path.is_file() and path.name != "labels.jsonl" and path.parent.name != "recorded"


def _partial_files(workdir: Path) -> Iterator[Path]:
    before = time.time() - _PARTIAL_SECONDS
    for folder, _, names in os.walk(workdir):
        for path in (Path(folder, name) for name in names if is_partial(name)):
            if path.lstat().st_mtime < before:
                yield path


def _outputs(
    root: Path, store: "MetadataStore", kept: Collection[str]
) -> tuple[list[Path], list[Path]]:
    """Returns the outputs of nodes that no kept run made or used, and what TFX left beside them."""
    contexts = [store.get_context_by_type_and_name(_RUN_CONTEXT, run_id) for run_id in kept]
    executions = [
        execution.id
        for context in contexts
        if context
        for execution in store.get_executions_by_context(context.id)
    ]
    events = store.get_events_by_execution_ids(executions) if executions else []
    artifacts = store.get_artifacts_by_id({event.artifact_id for event in events})
    needed = {_folder_of(artifact.uri, root) for artifact in artifacts}
    outputs = (folder for folder in root.glob("*/*/*") if folder.name.isdecimal())
    # Needed only while the node runs.
    scratch = list(root.glob("*/.system/*/*"))
    return [folder for folder in outputs if folder not in needed], scratch


def _folder_of(uri: str, root: Path) -> Path | None:
    """Returns `<root>/<node>/<channel>/<execution>` of an artifact; None: it lies elsewhere."""
    path = Path(uri).resolve()
    if not path.is_relative_to(root):
        return None
    return root.joinpath(*path.relative_to(root).parts[:3])


def _mark_deleted(store: "MetadataStore", outputs: list[Path]) -> None:
    from ml_metadata.proto import metadata_store_pb2

    root, folders = outputs[0].parents[2], set(outputs)
    events = store.get_events_by_execution_ids({int(folder.name) for folder in outputs})
    artifacts = store.get_artifacts_by_id({event.artifact_id for event in events})
    gone = [artifact for artifact in artifacts if _folder_of(artifact.uri, root) in folders]
    for artifact in gone:
        artifact.state = metadata_store_pb2.Artifact.DELETED
    store.put_artifacts(gone)


@contextmanager
def _opened(
    connection: "metadata_store_pb2.ConnectionConfig | None",
) -> "Iterator[MetadataStore | None]":
    if connection is None or (
        connection.HasField("sqlite") and not Path(connection.sqlite.filename_uri).is_file()
    ):
        yield None
        return
    # Imports TFX.
    from runs.metadata_store import StoredMetadata

    with StoredMetadata(connection) as handle:
        yield handle.store


def _tree(path: Path) -> Iterator[os.stat_result]:
    inner = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
    for each in (path, *inner):
        # Others may be at work beside runs, and may have renamed it by now.
        with suppress(FileNotFoundError):
            yield each.lstat()


def _written(path: Path) -> float:
    return max((found.st_mtime for found in _tree(path)), default=inf)


def _size(path: Path) -> int:
    return sum(found.st_size for found in _tree(path))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
