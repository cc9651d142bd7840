"""Which versions and runs the history lists."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reporting.history_page import earlier_runs, history_page
from reporting.render import render_history
from runs.result import RunResult
from serving.versions.record import VersionRecord
from serving.versions.store import VersionStore

START = datetime(2026, 1, 1, tzinfo=UTC)


def add_runs(workdir: Path, count: int) -> list[str]:
    started = [START + timedelta(hours=hour) for hour in range(count)]
    results = [RunResult(run_id=f"{time:%Y%m%d-%H%M%S}", started_at=time) for time in started]
    for result in results:
        result.write(workdir / "runs")
    return [result.run_id for result in results]


@pytest.mark.parametrize(("count", "older"), [(0, 0), (200, 0), (203, 3)])
def test_the_newest_200_runs_are_listed_and_the_rest_are_counted(
    tmp_path: Path, count: int, older: int
) -> None:
    ids = add_runs(tmp_path, count)
    history = history_page(tmp_path, str(tmp_path / "serving"))
    assert [run.run_id for run in history.runs] == list(reversed(ids))[:200]
    assert history.older_runs == older
    assert (f"{older} older ones" in render_history(history)) == bool(older)


def test_versions_beyond_the_newest_50_are_counted(tmp_path: Path) -> None:
    store = VersionStore(tmp_path / "serving")
    (tmp_path / "serving" / ".versions").mkdir(parents=True)
    for number in range(1, 53):
        store.write_record(VersionRecord(version=number, pushed_at=START, checksums={}))
    history = history_page(tmp_path, str(tmp_path / "serving"))
    assert [version.version for version in history.versions] == list(range(3, 53))
    assert history.older_versions == 2
    assert "2 older ones" in render_history(history)


def test_a_page_names_the_newest_30_of_the_runs_before_it(tmp_path: Path) -> None:
    ids = add_runs(tmp_path, 40)
    found = earlier_runs(tmp_path, before=START + timedelta(hours=35))
    assert [run.run_id for run in found] == list(reversed(ids[5:35]))
