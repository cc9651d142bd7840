"""Runs are neither lost nor doubled, never overlap, and are reported, whatever happens."""

import errno
import logging
import random
import shlex
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from data.layout import spans_folder
from data.spans import IMAGES_FILE, LABELS_FILE
from files import lock
from orchestration.schedule.attempt import Attempt
from orchestration.schedule.clock import Clock
from orchestration.schedule.model_schedule import ModelSchedule
from orchestration.schedule.scheduler import Scheduler
from orchestration.schedule.state import DueRun, ScheduleState
from pipeline.settings.config import Config
from runs.exit_status import Status
from runs.result import results

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
    for name in (IMAGES_FILE, LABELS_FILE):
        (made / name).touch()
    made.rename(folder / str(number))


def once(config: Config, fake_run, **arguments: Any) -> int:
    return Scheduler([ModelSchedule(config, fake_run.command, **arguments)]).once()


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
    (spans / "4").mkdir()
    (spans / "4" / f".{IMAGES_FILE}.half").touch()
    fake_run.release()
    eventually(lambda: read_state(config).spans == (1, 2, 3) and is_idle(config, 2, fake_run))
    assert served.stop() == 0
    assert not fake_run.overlapped()
    assert "new span 1" in served.log.read_text()


def test_spans_that_were_seen_start_nothing_after_a_restart(
    schedules, fake_run, config: Config, tmp_path: Path, eventually: Eventually
) -> None:
    spans = tmp_path / "spans"
    add_span(spans, 1)
    write_state(config, ScheduleState(spans=(1,)))
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
    assert once(config, fake_run) == 0
    assert len(fake_run.calls()) == 1


def test_a_failure_is_retried_until_it_passes(
    config: Config, fake_run, caplog: pytest.LogCaptureFixture
) -> None:
    fake_run.outcomes("failed", "crash", "pushed")
    with caplog.at_level(logging.INFO):
        assert once(config, fake_run) == 0
    assert len(fake_run.calls()) == 3
    assert "attempt 1 of 3, the next in 0.1 s: because of failed" in caplog.text
    assert "attempt 2 of 3, the next in 0.2 s: the process was ended by SIGABRT" in caplog.text
    assert "pushed version 1" in caplog.text


def test_the_result_of_a_run_is_handed_on_once_it_is_final(config: Config, fake_run) -> None:
    fake_run.outcomes("failed", "pushed")
    handed_on: list[dict[str, Any]] = []
    once(config, fake_run, on_result=handed_on.append)
    assert [(result["model"], result["status"]) for result in handed_on] == [
        ("fashion_mnist", "pushed")
    ]


def test_a_lasting_failure_is_given_up_and_is_the_exit_status(
    config: Config, fake_run, caplog: pytest.LogCaptureFixture
) -> None:
    fake_run.outcomes(*["failed"] * 9)
    assert once(config, fake_run) == 1
    assert len(fake_run.calls()) == 3
    assert "attempt 3 was the last: because of failed" in caplog.text
    assert read_state(config).due is None


@pytest.mark.parametrize(
    ("verdict", "exit_code"),
    [
        ("not_blessed", 3),
        ("infra_refused", 4),
        ("data_refused", 5),
        ("rolled_back", 6),
        ("pushed_unconfirmed", 8),
    ],
)
def test_a_verdict_is_not_retried(
    config: Config, fake_run, verdict: str, exit_code: int, caplog: pytest.LogCaptureFixture
) -> None:
    fake_run.outcomes(verdict)
    assert once(config, fake_run) == exit_code
    assert len(fake_run.calls()) == 1
    assert f"{verdict}: because of {verdict}" in caplog.text


def test_a_busy_workdir_is_waited_for_and_costs_no_attempt(config: Config, fake_run) -> None:
    fake_run.outcomes("busy", "busy", "busy", "busy", "pushed")
    assert once(config, fake_run) == 0
    assert len(fake_run.calls()) == 5


def test_nothing_is_left_of_a_run_but_the_state(config: Config, fake_run) -> None:
    once(config, fake_run)
    assert [path.name for path in (config.workdir / "schedule").iterdir()] == ["state.json"]


def test_a_workdir_has_one_schedule(config: Config, fake_run) -> None:
    with (
        lock.exclusive(config.workdir, "schedule"),
        pytest.raises(lock.WorkdirBusy, match="another schedule"),
    ):
        once(config, fake_run)


@pytest.mark.parametrize(
    "content",
    [b"[]", b"", b"\xff\xfe", b'{"cron_until": "2026-01-01T00:00:00"}', b'{"spans": ["new"]}'],
)
def test_a_state_file_that_cannot_be_read_costs_its_content_and_one_line(
    config: Config, fake_run, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    folder = config.workdir / "schedule"
    folder.mkdir()
    (folder / "state.json").write_bytes(content)
    assert once(config, fake_run) == 0
    assert len(fake_run.calls()) == 1
    assert [
        "is not the state of a schedule" in record.message
        for record in caplog.records
        if record.levelno >= logging.WARNING
    ] == [True]
    assert (folder / "state.json.unreadable").read_bytes() == content
    assert read_state(config).last_status == "up_to_date"


def test_a_state_file_that_is_a_folder_is_moved_out_of_the_way(config: Config, fake_run) -> None:
    (config.workdir / "schedule" / "state.json").mkdir(parents=True)
    assert once(config, fake_run) == 0
    assert read_state(config).last_status == "up_to_date"


def test_a_state_file_of_an_earlier_release_is_understood(config: Config, fake_run) -> None:
    (config.workdir / "schedule").mkdir()
    (config.workdir / "schedule" / "state.json").write_text(
        '{"cron_until": null, "spans": [1], "due": {"name": "20260101-000000-000000", "reason": '
        '"new span 1", "attempt": 2, "not_before": "2026-01-01T00:00:00Z", "process": 17}, '
        '"last_run": null, "last_status": null}'
    )
    assert once(config, fake_run) == 0
    assert read_state(config).spans == (1,)


def test_what_killed_processes_left_half_written_is_removed(config: Config, fake_run) -> None:
    folder = config.workdir / "schedule"
    (folder / "unsent").mkdir(parents=True)
    for name in (".state.json.12345678.partial", "unsent/.x.json.1.partial", "old-run-1-1.json"):
        (folder / name).touch()
    once(config, fake_run)
    assert sorted(path.name for path in folder.rglob("*")) == ["state.json", "unsent"]


class HourAfterEach(Clock):
    """Shows an hour more for each run that has begun, however long that took."""

    def __init__(self, begun: Callable[[], int]) -> None:
        self._begun = begun

    def monotonic(self) -> float:
        return super().monotonic() + 3600 * self._begun()


def test_a_run_that_takes_too_long_is_stopped_and_retried_as_a_failure(
    config: Config, fake_run, caplog: pytest.LogCaptureFixture
) -> None:
    settings = config.schedule.model_copy(update={"max_run_seconds": 3000.0, "retries": 1})
    fake_run.hold()
    limited = config.model_copy(update={"schedule": settings})
    handed_on: list[dict[str, Any]] = []
    clock = HourAfterEach(lambda: len(fake_run.calls()))
    assert once(limited, fake_run, on_result=handed_on.append, clock=clock) == 1
    assert len(fake_run.calls()) == 2
    (result,) = handed_on
    assert result["status"] == "failed"
    assert result["reasons"] == [
        "the run was stopped: it took longer than schedule.max_run_seconds = 3000"
    ]


def test_a_run_that_was_stopped_in_time_keeps_the_verdict_that_it_printed(
    config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = '{"run_id": "r", "started_at": "2026-01-01T00:00:00Z", "status": "%s"}'
    script = (
        "import pathlib, signal, sys, time\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (print('{result}' % sys.argv[1]), sys.exit()))\n"
        "pathlib.Path(sys.argv[2]).touch(); time.sleep(600)"
    )
    settings = config.schedule.model_copy(update={"max_run_seconds": 3000.0, "retries": 0})
    limited = config.model_copy(update={"schedule": settings})

    def made(status: str) -> int:
        begun = tmp_path / status
        command = [sys.executable, "-S", "-c", script, status, str(begun)]
        clock = HourAfterEach(lambda: int(begun.exists()))
        return Scheduler([ModelSchedule(limited, command, clock=clock)]).once()

    assert made("pushed") == 0
    assert made("interrupted") == 1
    (recorded,) = results(config.runs_dir)
    assert recorded.status is Status.FAILED
    assert "schedule.max_run_seconds" in recorded.reasons[0]


def test_a_run_that_does_not_stop_in_order_is_ended_by_force(
    tmp_path: Path, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.schedule.attempt._STOP_SECONDS", 0.2)
    ready = tmp_path / "ready"
    script = (
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"pathlib.Path({str(ready)!r}).touch(); time.sleep(600)"
    )
    attempt = Attempt.start([sys.executable, "-S", "-c", script], tmp_path / "output")
    eventually(ready.exists)
    assert attempt.stop()
    assert attempt.end() == "was ended by SIGKILL"


def test_a_run_whose_scheduler_was_killed_can_still_be_stopped(
    schedules, fake_run, config: Config, tmp_path: Path, eventually: Eventually
) -> None:
    add_span(tmp_path / "spans", 1)
    fake_run.hold()
    served = schedules.serve(watched=tmp_path / "spans")
    eventually(lambda: len(fake_run.calls()) == 1)
    served.stop(signal.SIGKILL)
    again = schedules.serve(watched=tmp_path / "spans")
    eventually(lambda: "started by an earlier scheduler" in again.log.read_text())
    again.stop()
    assert "was stopped; the next start makes it again" in again.log.read_text()
    eventually(lambda: not Path(f"/proc/{fake_run.calls()[0]}").exists())


def test_a_command_that_cannot_be_started_is_tried_again(
    config: Config, fake_run, tmp_path: Path, eventually: Eventually, caplog
) -> None:
    program = tmp_path / "program"
    model = ModelSchedule(config, [str(program)])
    model.resume()
    model.ask_for_run("asked for")
    model.start_run()
    assert "cannot go on, the next try is in 0.1 s: FileNotFoundError" in caplog.text
    assert model.due is not None
    program.write_text(f"#!/bin/sh\nexec {shlex.join(fake_run.command)}\n")
    program.chmod(0o755)
    eventually(lambda: model.ready_since is not None)
    model.start_run()
    assert model.is_running
    eventually(lambda: model.turn() or model.due is None)
    assert read_state(config).last_status == "up_to_date"


def test_a_state_that_cannot_be_written_stops_nothing_but_the_turn(
    config: Config, fake_run, eventually: Eventually, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    fake_run.outcomes("failed", "pushed")
    model = ModelSchedule(config, fake_run.command)
    model.resume()
    model.ask_for_run("asked for")
    model.start_run()
    with monkeypatch.context() as patched:
        patched.setattr(ScheduleState, "write", _full_disk)
        eventually(lambda: model.turn() or "No space left" in caplog.text)
        assert model.is_running
    # The failure was not counted twice, although concluding it was tried twice.
    eventually(lambda: model.turn() or not model.is_running)
    assert read_state(config).due.attempt == 2


def _full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_receiver_of_results_that_fails_costs_a_line(config: Config, fake_run, caplog) -> None:
    def closed(_: dict[str, Any]) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    assert once(config, fake_run, on_result=closed) == 0
    assert "the result of run run-1 is not handed on: BrokenPipeError" in caplog.text
    assert read_state(config).due is None


def test_spans_that_cannot_be_read_cost_a_line_and_no_run(
    config: Config, fake_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    def unreadable(_: Path) -> list[int]:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path))

    monkeypatch.setattr("orchestration.schedule.triggers.list_spans", unreadable)
    spans_folder(config.data_root).mkdir(parents=True)
    assert once(config, fake_run) == 0
    assert caplog.text.count("spans cannot be looked for") == 1
    assert len(fake_run.calls()) == 1


def test_a_request_while_a_retry_waits_neither_restarts_the_count_nor_the_pause(
    config: Config, fake_run, eventually: Eventually
) -> None:
    fake_run.outcomes(*["failed"] * 9)
    settings = config.schedule.model_copy(update={"retry_delay_seconds": 3600.0})
    model = ModelSchedule(config.model_copy(update={"schedule": settings}), fake_run.command)
    model.resume()
    model.ask_for_run("the clock")
    model.start_run()
    eventually(lambda: model.turn() or not model.is_running)
    model.ask_for_run("new span 1")
    model.ask_for_run("the clock")
    assert model.due.attempt == 2
    assert model.due.reason == "the clock, new span 1"
    assert model.ready_since is None


def test_kills_at_any_moment_neither_lose_nor_double_a_run(
    schedules, fake_run, config: Config, tmp_path: Path, eventually: Eventually
) -> None:
    """Each of the runs finds its span once; a kill falls before, into, and after each."""
    spans = tmp_path / "spans"
    kill_after = random.Random(13)
    for number in range(1, 7):
        add_span(spans, number)
        served = schedules.serve(watched=spans)
        eventually(lambda served=served: "watching" in served.log.read_text())
        time.sleep(kill_after.uniform(0.0, 0.6))
        served.stop(signal.SIGKILL)
    last = schedules.serve(watched=spans)
    eventually(lambda: read_state(config).spans == (1, 2, 3, 4, 5, 6))
    eventually(lambda: read_state(config).due is None)
    assert last.stop() == 0
    assert not fake_run.overlapped()
    assert 1 <= len(fake_run.calls()) <= 6
