"""Runs are neither lost nor doubled, never overlap, and are reported, whatever happens."""

import logging
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from files import lock
from orchestration.schedule.scheduler import Scheduler
from orchestration.schedule.state import DueRun, ScheduleState
from pipeline.settings.config import Config
from pipeline.settings.errors import UsageError
from runs.result import RunResult, Status

Eventually = Callable[[Callable[[], bool]], None]


def read_state(config: Config) -> ScheduleState:
    return ScheduleState.read(config.workdir / "schedule" / "state.json")


def write_state(config: Config, state: ScheduleState) -> None:
    folder = config.workdir / "schedule"
    folder.mkdir()
    state.write(folder / "state.json")


def add_span(folder: Path, number: int) -> None:
    made = folder / f"{number}.partial"
    made.mkdir(parents=True)
    (made / "images-idx3-ubyte").touch()
    made.rename(folder / str(number))


def is_idle(config: Config, calls: int, fake_run) -> bool:
    return len(fake_run.calls()) == calls and read_state(config).due is None


def test_missed_times_lead_to_one_run_which_says_when_nothing_is_new(
    schedules, fake_run, config: Config, eventually: Eventually
) -> None:
    write_state(config, ScheduleState(cron_until=datetime.now(UTC) - timedelta(days=3)))
    served = schedules.serve(cron="0 * * * *")
    eventually(lambda: is_idle(config, 1, fake_run))
    assert served.stop() == 0
    assert len(fake_run.calls()) == 1
    assert "nothing new, version 1 is up to date" in served.log.read_text()
    again = schedules.serve(cron="0 0 1 1 *")
    eventually(lambda: "the next run is due" in again.log.read_text())
    again.stop()
    assert len(fake_run.calls()) == 1


def test_spans_that_arrive_during_a_run_lead_to_one_more_after_it(
    schedules, fake_run, config: Config, tmp_path: Path, eventually: Eventually
) -> None:
    spans = tmp_path / "spans"
    fake_run.hold()
    served = schedules.serve(watched=spans)
    add_span(spans, 1)
    eventually(lambda: len(fake_run.calls()) == 1)
    add_span(spans, 2)
    add_span(spans, 3)
    (spans / "notes").mkdir()
    fake_run.release()
    eventually(lambda: read_state(config).spans == [1, 2, 3] and is_idle(config, 2, fake_run))
    assert served.stop() == 0
    assert not fake_run.overlapped()
    assert "new span 1" in served.log.read_text()


def test_spans_that_were_seen_start_nothing_after_a_restart(
    schedules, fake_run, config: Config, tmp_path: Path, eventually: Eventually
) -> None:
    spans = tmp_path / "spans"
    add_span(spans, 1)
    write_state(config, ScheduleState(spans=[1]))
    served = schedules.serve(watched=spans)
    eventually(lambda: "watching" in served.log.read_text())
    add_span(spans, 2)
    eventually(lambda: is_idle(config, 1, fake_run))
    served.stop()
    log = served.log.read_text()
    assert "new span 2" in log
    assert "new span 1" not in log


def test_sigterm_stops_the_run_as_well_and_the_next_start_makes_it_again(
    schedules, fake_run, config: Config, tmp_path: Path, eventually: Eventually
) -> None:
    add_span(tmp_path / "spans", 1)
    fake_run.hold()
    served = schedules.serve(watched=tmp_path / "spans")
    eventually(lambda: len(fake_run.calls()) == 1)
    assert served.stop(signal.SIGINT) == 0
    assert not Path(f"/proc/{fake_run.calls()[0]}").exists()
    assert read_state(config).due is not None
    (fake_run.folder / "running").unlink()
    fake_run.release()
    again = schedules.serve()
    eventually(lambda: is_idle(config, 2, fake_run))
    again.stop()


def test_a_run_survives_the_killing_of_its_scheduler_and_is_not_doubled(
    schedules, fake_run, config: Config, tmp_path: Path, eventually: Eventually
) -> None:
    add_span(tmp_path / "spans", 1)
    fake_run.outcomes("not_blessed")
    fake_run.hold()
    served = schedules.serve(watched=tmp_path / "spans")
    eventually(lambda: len(fake_run.calls()) == 1)
    served.stop(signal.SIGKILL)
    again = schedules.serve(watched=tmp_path / "spans")
    eventually(lambda: "started by an earlier scheduler" in again.log.read_text())
    fake_run.release()
    eventually(lambda: read_state(config).last_status == "not_blessed")
    assert again.stop() == 3
    assert len(fake_run.calls()) == 1


def test_a_run_that_ended_while_no_scheduler_was_there_is_not_doubled(
    schedules, fake_run, config: Config, tmp_path: Path, eventually: Eventually
) -> None:
    add_span(tmp_path / "spans", 1)
    fake_run.outcomes("pushed")
    fake_run.hold()
    served = schedules.serve(watched=tmp_path / "spans")
    eventually(lambda: len(fake_run.calls()) == 1)
    served.stop(signal.SIGKILL)
    fake_run.release()
    eventually(lambda: not Path(f"/proc/{fake_run.calls()[0]}").exists())
    again = schedules.serve(watched=tmp_path / "spans")
    eventually(lambda: is_idle(config, 1, fake_run))
    again.stop()
    assert read_state(config).last_status == "pushed"


def test_a_run_that_died_with_its_scheduler_is_made_again(
    schedules, fake_run, config: Config, tmp_path: Path, eventually: Eventually
) -> None:
    add_span(tmp_path / "spans", 1)
    fake_run.outcomes("crash", "pushed")
    fake_run.hold()
    served = schedules.serve(watched=tmp_path / "spans")
    eventually(lambda: len(fake_run.calls()) == 1)
    served.stop(signal.SIGKILL)
    fake_run.release()
    eventually(lambda: not Path(f"/proc/{fake_run.calls()[0]}").exists())
    again = schedules.serve(watched=tmp_path / "spans")
    eventually(lambda: is_idle(config, 2, fake_run))
    again.stop()
    assert read_state(config).last_status == "pushed"


def test_a_run_that_was_due_when_the_scheduler_was_killed_is_not_lost(
    config: Config, fake_run
) -> None:
    due = DueRun(name="20260101-000000", reason="new span 1", not_before=datetime.now(UTC))
    write_state(config, ScheduleState(due=due))
    assert Scheduler(config, fake_run.command).once() == 0
    assert len(fake_run.calls()) == 1


def test_a_failure_is_retried_until_it_passes(
    config: Config, fake_run, caplog: pytest.LogCaptureFixture
) -> None:
    fake_run.outcomes("failed", "crash", "pushed")
    with caplog.at_level(logging.INFO):
        assert Scheduler(config, fake_run.command).once() == 0
    assert len(fake_run.calls()) == 3
    assert "attempt 1 of 3, the next in 0.1 s: because of failed" in caplog.text
    assert "attempt 2 of 3, the next in 0.2 s: the process was ended by SIGABRT" in caplog.text
    assert "pushed version 1" in caplog.text


def test_the_result_of_a_run_is_handed_on_once_it_is_final(config: Config, fake_run) -> None:
    fake_run.outcomes("failed", "pushed")
    handed_on: list[RunResult] = []
    Scheduler(config, fake_run.command, handed_on.append).once()
    assert [result.status for result in handed_on] == [Status.PUSHED]


def test_a_lasting_failure_is_given_up_and_is_the_exit_status(
    config: Config, fake_run, caplog: pytest.LogCaptureFixture
) -> None:
    fake_run.outcomes(*["failed"] * 9)
    assert Scheduler(config, fake_run.command).once() == 1
    assert len(fake_run.calls()) == 3
    assert "attempt 3 was the last: because of failed" in caplog.text
    assert read_state(config).due is None


def test_a_refusal_is_not_retried(
    config: Config, fake_run, caplog: pytest.LogCaptureFixture
) -> None:
    fake_run.outcomes("data_refused")
    assert Scheduler(config, fake_run.command).once() == 5
    assert len(fake_run.calls()) == 1
    assert "data_refused: because of data_refused" in caplog.text


def test_a_busy_workdir_is_waited_for_and_costs_no_attempt(config: Config, fake_run) -> None:
    fake_run.outcomes("busy", "busy", "busy", "busy", "pushed")
    assert Scheduler(config, fake_run.command).once() == 0
    assert len(fake_run.calls()) == 5


def test_nothing_is_left_of_a_run_but_the_state(config: Config, fake_run) -> None:
    Scheduler(config, fake_run.command).once()
    assert [path.name for path in (config.workdir / "schedule").iterdir()] == ["state.json"]


def test_a_workdir_has_one_schedule(config: Config, fake_run) -> None:
    with (
        lock.exclusive(config.workdir, "schedule"),
        pytest.raises(lock.WorkdirBusy, match="another schedule"),
    ):
        Scheduler(config, fake_run.command).once()


def test_a_foreign_state_file_is_named(config: Config, fake_run) -> None:
    (config.workdir / "schedule").mkdir()
    (config.workdir / "schedule" / "state.json").write_text("[]")
    with pytest.raises(UsageError, match=r"state\.json is not the state of a schedule"):
        Scheduler(config, fake_run.command).once()
