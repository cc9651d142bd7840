"""A schedule by a clock that is set, stands still or was wrong for years."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestration.schedule.cron import Cron
from orchestration.schedule.model_schedule import ModelSchedule
from orchestration.schedule.state import ScheduleState
from pipeline.settings.config import Config

NIGHTLY = "0 3 * * *"


def nightly(config: Config, fake_run, clock, **arguments) -> ModelSchedule:
    model = ModelSchedule(
        config, fake_run.command, cron=Cron(NIGHTLY, "UTC"), clock=clock, **arguments
    )
    model.resume()
    model.turn()
    return model


def with_schedule(config: Config, **settings: object) -> Config:
    return config.model_copy(update={"schedule": config.schedule.model_copy(update=settings)})


def asks(model: ModelSchedule) -> bool:
    """Whether a turn makes a run due, which is then seen through."""
    model.turn()
    if model.due is None:
        return False
    model.start_run()
    while model.due:
        model.turn()
    return True


def test_cron_fires_once_when_its_time_has_come(config: Config, fake_run, clock) -> None:
    model = nightly(config, fake_run, clock)
    assert not asks(model)
    clock.advance(hours=15, seconds=-1)
    assert not asks(model)
    clock.advance(seconds=2)
    assert asks(model)
    assert not asks(model)
    clock.advance(days=5)
    assert asks(model)
    assert not asks(model)


@pytest.mark.parametrize("restarts", [False, True])
def test_a_clock_that_jumps_a_year_ahead_and_back_costs_one_run(
    config: Config, fake_run, clock, restarts: bool, caplog: pytest.LogCaptureFixture
) -> None:
    model = nightly(config, fake_run, clock)
    clock.set_by(days=365)
    assert asks(model)
    clock.set_by(days=-365)
    if restarts:
        model = nightly(config, fake_run, clock)
    assert not asks(model)
    assert "the clock was set back from 2027-01-01" in caplog.text
    clock.advance(hours=15)
    assert asks(model)
    assert not asks(model)


def test_a_small_correction_backwards_does_not_fire_twice(config: Config, fake_run, clock) -> None:
    model = nightly(config, fake_run, clock)
    clock.advance(hours=15)
    assert asks(model)
    clock.set_by(seconds=-30)
    assert not asks(model)
    clock.advance(minutes=1)
    assert not asks(model)
    clock.advance(days=1)
    assert asks(model)


def test_a_machine_that_starts_in_1970_runs_when_its_clock_is_set(
    config: Config, fake_run, clock
) -> None:
    nightly(config, fake_run, clock)
    clock.set_by(days=-56 * 365)
    model = nightly(config, fake_run, clock)
    assert not asks(model)
    clock.set_by(days=56 * 365 + 1)
    assert asks(model)
    assert not asks(model)


@pytest.mark.parametrize("jump", [-365, 365])
def test_the_pause_before_a_retry_passes_whatever_the_clock_says(
    config: Config, fake_run, clock, jump: int
) -> None:
    fake_run.outcomes("failed")
    model = nightly(with_schedule(config, retry_delay_seconds=60.0), fake_run, clock)
    model.ask_for_run("asked for")
    model.start_run()
    while model.is_running:
        model.turn()
    clock.set_by(days=jump)
    assert model.ready_since is None
    clock.advance(seconds=61)
    assert model.ready_since is not None


def test_the_pause_before_a_retry_is_not_longer_after_a_restart_by_an_earlier_clock(
    config: Config, fake_run, clock
) -> None:
    fake_run.outcomes("failed")
    patient = with_schedule(config, retry_delay_seconds=60.0)
    model = nightly(patient, fake_run, clock)
    model.ask_for_run("asked for")
    model.start_run()
    while model.is_running:
        model.turn()
    clock.set_by(days=-365)
    again = nightly(patient, fake_run, clock)
    clock.advance(seconds=30)
    assert again.ready_since is None
    clock.advance(seconds=91)
    assert again.ready_since is not None


def test_pauses_grow_up_to_an_hour(config: Config, fake_run, clock) -> None:
    fake_run.outcomes(*["failed"] * 9)
    settings = with_schedule(config, retry_delay_seconds=600.0, retries=4)
    model = nightly(settings, fake_run, clock)
    model.ask_for_run("asked for")
    for pause in (600, 1200, 2400, 3600):
        model.start_run()
        while model.is_running:
            model.turn()
        clock.advance(seconds=pause - 1)
        assert model.ready_since is None
        clock.advance(seconds=1)
        assert model.ready_since is not None


@pytest.mark.parametrize("jump", [-365, 365])
def test_the_time_limit_of_a_run_is_not_that_of_the_wall_clock(
    config: Config, fake_run, clock, jump: int
) -> None:
    fake_run.hold()
    limited = with_schedule(config, max_run_seconds=3600.0, retries=0)
    model = nightly(limited, fake_run, clock)
    model.ask_for_run("asked for")
    model.start_run()
    clock.set_by(days=jump)
    model.turn()
    assert model.is_running
    clock.advance(seconds=3601)
    model.turn()
    assert not model.is_running
    assert model.exit_code == 1


def test_the_time_limit_goes_on_when_the_scheduler_is_started_again(
    config: Config, fake_run, clock
) -> None:
    fake_run.hold()
    limited = with_schedule(config, max_run_seconds=3600.0, retries=0)
    model = nightly(limited, fake_run, clock)
    model.ask_for_run("asked for")
    model.start_run()
    clock.advance(seconds=3000)
    again = nightly(limited, fake_run, clock)
    assert again.is_running
    clock.advance(seconds=601)
    again.turn()
    assert not again.is_running
    assert again.exit_code == 1


def test_spans_are_looked_for_whatever_the_clock_says(
    config: Config, fake_run, clock, tmp_path: Path
) -> None:
    model = nightly(config, fake_run, clock, watched=tmp_path / "spans")
    clock.set_by(days=365)
    assert asks(model)
    clock.set_by(days=-365)
    span = tmp_path / "spans" / "1"
    span.mkdir(parents=True)
    (span / "images-idx3-ubyte.gz").touch()
    (span / "labels-idx1-ubyte.gz").touch()
    clock.advance(seconds=1)
    assert asks(model)


def silences(model: ModelSchedule) -> list[str]:
    """What the webhook would be told."""
    model.turn()
    found = []
    for path in (model.config.workdir / "schedule" / "unsent").glob("no_*"):
        found.append(json.loads(path.read_text())["status"])
        path.unlink()
    return sorted(found)


@pytest.fixture
def expecting(config: Config) -> Config:
    return with_schedule(
        config,
        webhook="http://127.0.0.1:1/",
        expect_run_hours=24.0,
        expect_data_hours=48.0,
    )


def idle(expecting: Config, fake_run, clock) -> ModelSchedule:
    model = ModelSchedule(expecting, fake_run.command, clock=clock)
    model.resume()
    return model


def test_a_silence_is_reported_once_for_each_interval(expecting, fake_run, clock, caplog) -> None:
    model = idle(expecting, fake_run, clock)
    assert silences(model) == []
    clock.advance(hours=25)
    assert silences(model) == ["no_run"]
    assert silences(model) == []
    assert "fashion_mnist: no_run: no run has ended for 25.0 hours" in caplog.text
    clock.advance(hours=24)
    assert silences(model) == ["no_data", "no_run"]
    assert silences(model) == []


def test_a_restart_neither_repeats_nor_forgets_a_silence(expecting, fake_run, clock) -> None:
    model = idle(expecting, fake_run, clock)
    clock.advance(hours=25)
    assert silences(model) == ["no_run"]
    assert silences(idle(expecting, fake_run, clock)) == []
    clock.advance(hours=24)
    assert silences(idle(expecting, fake_run, clock)) == ["no_data", "no_run"]


def test_a_clock_that_jumps_is_not_a_silence(expecting, fake_run, clock) -> None:
    model = idle(expecting, fake_run, clock)
    clock.set_by(days=365)
    assert silences(model) == []
    clock.set_by(days=-2 * 365)
    clock.advance(hours=25)
    assert silences(model) == ["no_run"]


def test_a_run_and_a_span_end_their_silences(
    expecting, fake_run, clock, config: Config, tmp_path: Path
) -> None:
    data = config.data.model_copy(update={"root": tmp_path / "data"})
    model = idle(expecting.model_copy(update={"data": data}), fake_run, clock)
    clock.advance(hours=50)
    assert silences(model) == ["no_data", "no_run"]
    model.ask_for_run("asked for")
    model.start_run()
    while model.due:
        model.turn()
    span = tmp_path / "data" / "spans" / "1"
    span.mkdir(parents=True)
    (span / "images-idx3-ubyte.gz").touch()
    (span / "labels-idx1-ubyte.gz").touch()
    clock.advance(hours=23)
    assert silences(model) == []
    clock.advance(hours=2)
    assert silences(model) == ["no_run"]
    clock.advance(hours=47)
    assert silences(model) == ["no_data", "no_run"]


@pytest.mark.parametrize("started_again", [False, True])
def test_data_is_missed_by_a_schedule_that_only_the_clock_starts(
    expecting, fake_run, clock, config: Config, tmp_path: Path, started_again: bool
) -> None:
    data = config.data.model_copy(update={"root": tmp_path / "data"})
    rooted = expecting.model_copy(update={"data": data})
    span = tmp_path / "data" / "spans" / "1"
    span.mkdir(parents=True)
    (span / "images-idx3-ubyte.gz").touch()
    (span / "labels-idx1-ubyte.gz").touch()
    model = nightly(rooted, fake_run, clock)
    for _ in range(2):
        clock.advance(hours=23.9)
        assert asks(model)
    assert silences(model) == []
    clock.advance(hours=1)
    model = nightly(rooted, fake_run, clock) if started_again else model
    assert silences(model) == ["no_data"]


def test_a_span_that_no_run_has_read_starts_one_when_spans_are_watched_again(
    config: Config, fake_run, clock, tmp_path: Path
) -> None:
    span = tmp_path / "spans" / "1"
    span.mkdir(parents=True)
    (span / "images-idx3-ubyte.gz").touch()
    (span / "labels-idx1-ubyte.gz").touch()
    data = config.data.model_copy(update={"root": tmp_path})
    rooted = config.model_copy(update={"data": data})
    assert not asks(nightly(rooted, fake_run, clock))
    watching = ModelSchedule(rooted, fake_run.command, watched=tmp_path / "spans", clock=clock)
    watching.resume()
    assert asks(watching)


def test_a_run_that_hangs_is_a_silence(expecting, fake_run, clock) -> None:
    fake_run.hold()
    model = idle(with_schedule(expecting, max_run_seconds=1e9), fake_run, clock)
    model.ask_for_run("asked for")
    model.start_run()
    clock.advance(hours=25)
    assert silences(model) == ["no_run"]
    model.stop_run()


def test_a_state_of_the_future_is_no_silence(expecting, fake_run, clock) -> None:
    ahead = datetime(2030, 1, 1, tzinfo=UTC)
    (expecting.workdir / "schedule").mkdir()
    ScheduleState(last_run_at=ahead, last_data_at=ahead).write(
        expecting.workdir / "schedule" / "state.json"
    )
    model = idle(expecting, fake_run, clock)
    clock.advance(hours=23)
    assert silences(model) == []
    clock.advance(hours=2)
    assert silences(model) == ["no_run"]


def test_a_week_of_standstill_is_said_at_the_next_start(expecting, fake_run, clock) -> None:
    idle(expecting, fake_run, clock)
    clock.advance(days=7)
    assert silences(idle(expecting, fake_run, clock)) == ["no_data", "no_run"]
