"""Reads the earlier runs and the versions of a workdir."""

from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from reporting.page import EarlierRun, HistoryPage, ListedVersion
from runs.result import RunResult, results
from serving.versions.store import Version, VersionStore

if TYPE_CHECKING:
    from ml_metadata import MetadataStore

PAGE_NAME = "index.html"

_ACCURACY = "sparse_categorical_accuracy"
_DEFAULT_SIGNATURE = "serving_default"
_EARLIER_RUNS = 30
_LISTED_RUNS = 200
_LISTED_VERSIONS = 50


def earlier_runs(workdir: Path, before: datetime) -> list[EarlierRun]:
    """Returns the newest 30 runs that started before a time, newest first.

    Args:
        workdir: holds `runs/` and `reports/`.
        before: when the run itself started.
    """
    earlier = (result for result in results(workdir / "runs") if result.started_at < before)
    return [_earlier(workdir, result) for result in islice(earlier, _EARLIER_RUNS)]


def page_of(workdir: Path, run_id: str) -> str | None:
    """Returns the address of a run's page relative to the folder of reports, if it has one."""
    exists = bool(run_id) and (workdir / "reports" / run_id / PAGE_NAME).is_file()
    return f"{run_id}/{PAGE_NAME}" if exists else None


def history_page(
    workdir: Path, serving_base: str, store: "MetadataStore | None" = None
) -> HistoryPage:
    """Collects the history of a workdir: its newest 50 versions and 200 runs.

    Results of older runs are counted, not read.

    Args:
        workdir: holds `runs/` and `reports/`.
        serving_base: the base path that holds the versions.
        store: the metadata, which knows the sizes and latencies of versions; None: left out.
    """
    recorded = [version for version in VersionStore(serving_base).versions() if version.record]
    newest = recorded[:_LISTED_VERSIONS]
    runs = workdir / "runs"
    kept = sum(1 for _ in runs.glob("*.json"))
    return HistoryPage(
        model_name=serving_base.rstrip("/").rpartition("/")[2],
        versions=[_listed(workdir, version, store) for version in reversed(newest)],
        runs=[_earlier(workdir, result) for result in islice(results(runs), _LISTED_RUNS)],
        older_versions=len(recorded) - len(newest),
        older_runs=max(0, kept - _LISTED_RUNS),
    )


def _earlier(workdir: Path, result: RunResult) -> EarlierRun:
    finished = result.finished_at
    return EarlierRun(
        run_id=result.run_id,
        started_at=result.started_at,
        seconds=(finished - result.started_at).total_seconds() if finished else None,
        status=result.status,
        version=result.version,
        accuracy=result.accuracy,
        reasons=result.reasons,
        page=page_of(workdir, result.run_id),
    )


def _listed(workdir: Path, version: Version, store: "MetadataStore | None") -> ListedVersion:
    record = version.record
    assert record is not None
    listed = ListedVersion(
        version=version.number,
        state=version.state,
        pushed_at=record.pushed_at,
        run_id=record.run_id,
        spans=record.spans,
        accuracy=record.metrics.get("overall", {}).get(_ACCURACY),
        page=page_of(workdir, record.run_id),
    )
    if store is not None:
        _add_measurements(listed, store)
    return listed


def _add_measurements(listed: ListedVersion, store: "MetadataStore") -> None:
    # Imported here because they import TFX: a run that cannot read its data does without it.
    from components.infra_validator.blessing import read_blessing
    from reporting.evidence import Evidence
    from reporting.sections.infra_validation import latencies

    artifact = Evidence(store, listed.run_id).output("InfraValidator", "blessing")
    if artifact is None or not (artifact.path / "blessing.json").is_file():
        return
    blessing = read_blessing(artifact.uri)
    listed.megabytes = blessing.measurements.model_megabytes
    for latency in latencies(blessing):
        if latency.signature == _DEFAULT_SIGNATURE:
            listed.latency = latency
