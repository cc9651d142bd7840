"""A schedule makes traffic reports, and a run where they find drift and there is new data."""

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from orchestration.schedule.model_schedule import ModelSchedule
from pipeline.settings.load import load_config
from pipeline.traffic.report import TrafficReport
from tests.orchestration.schedule.conftest import FakeClock

DRIFT = 9


def report_command(code: int, folder: Path) -> list[str]:
    """Stands for `runner.py traffic report`: notes that it was called, and ends with a code."""
    script = f"import sys; open({str(folder / 'calls')!r}, 'a').write('x'); sys.exit({code})"
    return [sys.executable, "-c", script]


@pytest.fixture
def schedule(tmp_path: Path) -> Callable[[int], tuple[ModelSchedule, FakeClock]]:
    def make(code: int) -> tuple[ModelSchedule, FakeClock]:
        clock = FakeClock()
        config = load_config(workdir=tmp_path, overrides=["traffic.report_hours=2"])
        made = ModelSchedule(
            config, ["unused"], report_command=report_command(code, tmp_path), clock=clock
        )
        made.resume()
        return made, clock

    return make


def reported(schedule: ModelSchedule, folder: Path, times: int) -> None:
    """Gives the schedule turns until so many reports have been made and seen."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        schedule.turn()
        assert schedule._traffic
        calls = folder / "calls"
        if calls.exists() and len(calls.read_text()) >= times and not schedule._traffic._process:
            return
        time.sleep(0.02)
    raise AssertionError("no report was made")


def new_span(folder: Path, number: int) -> None:
    span = folder / "data" / "spans" / str(number)
    span.mkdir(parents=True)
    for name in ("images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"):
        (span / name).touch()


def test_reports_are_made_so_often(schedule, tmp_path: Path) -> None:
    made, clock = schedule(0)
    reported(made, tmp_path, 1)
    for _ in range(5):
        made.turn()
    assert (tmp_path / "calls").read_text() == "x"
    clock.advance(hours=2)
    reported(made, tmp_path, 2)
    assert made.due is None


def test_drift_starts_a_run_only_where_there_is_data_that_no_run_has_seen(
    schedule, tmp_path: Path
) -> None:
    made, clock = schedule(DRIFT)
    reported(made, tmp_path, 1)
    assert made.due is None
    new_span(tmp_path, 1)
    clock.advance(hours=2)
    reported(made, tmp_path, 2)
    assert made.due
    assert made.due.reason == "drift"


def test_a_report_that_fails_is_no_reason_to_run(
    schedule, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    new_span(tmp_path, 1)
    made, _ = schedule(1)
    reported(made, tmp_path, 1)
    assert made.due is None
    assert "the traffic report failed: exit code 1" in caplog.text


def test_a_restart_does_not_report_sooner_than_is_due(schedule, tmp_path: Path) -> None:
    made_at = FakeClock().now() - timedelta(hours=1)
    report = TrafficReport(at=made_at, model="fashion_mnist")
    folder = tmp_path / "traffic" / "reports"
    folder.mkdir(parents=True)
    (folder / report.file_name).write_text(report.model_dump_json())
    made, clock = schedule(0)
    made.turn()
    assert made._traffic
    assert made._traffic._process is None
    clock.advance(hours=1, seconds=1)
    reported(made, tmp_path, 1)


@pytest.mark.parametrize("heeds", ["sys.exit(1)", "None"])
def test_a_report_that_hangs_is_stopped_and_another_follows(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    heeds: str,
) -> None:
    monkeypatch.setattr("orchestration.schedule.traffic_watch._STOP_SECONDS", 1.0)
    limits = ["traffic.report_hours=2", "schedule.max_run_seconds=600"]
    config = load_config(workdir=tmp_path, overrides=limits)
    up = tmp_path / "up"
    hanging = (
        f"import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: {heeds}); "
        f"open({str(up)!r}, 'w').close(); time.sleep(600)"
    )
    command, clock = [sys.executable, "-c", hanging], FakeClock()
    made = ModelSchedule(config, ["unused"], report_command=command, clock=clock)
    made.resume()
    made.turn()
    assert made._traffic
    first = made._traffic._process
    assert first
    while not up.exists():
        time.sleep(0.02)
    clock.advance(seconds=599)
    made.turn()
    assert first.poll() is None
    clock.advance(seconds=2)
    made.turn()
    assert first.poll() is not None
    assert "the traffic report has taken 600 s; stopping it" in caplog.text
    clock.advance(hours=2)
    made.turn()
    assert made._traffic._process
    made.stop_run()


def test_a_kept_report_without_a_zone_is_passed_over(schedule, tmp_path: Path) -> None:
    folder = tmp_path / "traffic" / "reports"
    folder.mkdir(parents=True)
    (folder / "1.json").write_text('{"at": "2026-01-01T00:00:00", "model": "fashion_mnist"}')
    made, _ = schedule(0)
    reported(made, tmp_path, 1)


def test_a_report_ends_with_its_schedule(tmp_path: Path) -> None:
    config = load_config(workdir=tmp_path, overrides=["traffic.report_hours=2"])
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    made = ModelSchedule(config, ["unused"], report_command=sleeper, clock=FakeClock())
    made.resume()
    made.turn()
    assert made._traffic
    process = made._traffic._process
    assert process
    made.stop_run()
    assert process.poll() is not None
