"""`runner.py clean` as an operator calls it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from files import lock
from runs.result import RunResult
from tests.conftest import run_runner


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """Holds three results, whose runs are the days of November, and nothing else."""
    workdir = tmp_path / "var"
    for day in (1, 2, 3):
        started = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=day)
        RunResult(run_id=f"202611{day:02}", started_at=started).write(workdir / "runs")
    return workdir


def runs(workdir: Path) -> list[str]:
    return sorted(path.stem for path in (workdir / "runs").iterdir())


def test_a_dry_run_removes_nothing_and_the_same_call_without_it_does(workdir: Path) -> None:
    arguments = ("clean", "--workdir", str(workdir), "--set", "retention.runs=1")
    shown = run_runner(*arguments, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("would remove 0.0 MB; runs that stay: 1\n  runs ")
    assert len(runs(workdir)) == 3
    done = json.loads(run_runner(*arguments, "--json").stdout)
    assert done["dry_run"] is False
    assert done["kept_runs"] == runs(workdir) == ["20261103"]
    gone = [str(workdir / "runs" / f"{run}.json") for run in ("20261102", "20261101")]
    assert done["removed"] == {"runs": gone}
    assert done["bytes"] > 0


def test_a_workdir_in_which_a_run_is_at_work_is_left_alone(workdir: Path) -> None:
    with lock.exclusive(workdir):
        done = run_runner("clean", "--workdir", str(workdir), "--set", "retention.runs=1")
    assert done.returncode == 7
    assert "another run" in done.stderr
    assert len(runs(workdir)) == 3


def test_a_workdir_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    done = run_runner("clean", "--workdir", str(tmp_path / "none"))
    assert done.returncode == 2
    assert "there is no workdir" in done.stderr
    assert not (tmp_path / "none").exists()
