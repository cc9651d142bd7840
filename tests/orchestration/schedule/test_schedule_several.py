"""One schedule process for several models: none disturbs another."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from files import lock
from orchestration.schedule.model_schedule import ModelSchedule
from orchestration.schedule.scheduler import Scheduler, refuse_shared
from orchestration.schedule.state import ScheduleState
from pipeline.settings.config import Config
from pipeline.settings.errors import UsageError
from pipeline.settings.load import load_config
from tests.orchestration.schedule.test_scheduler import add_span, read_state

Eventually = Callable[[Callable[[], bool]], None]


def of_model(tmp_path: Path, name: str, **flags: Any) -> Config:
    return load_config(
        workdir=tmp_path / name,
        serving__model_name=name,
        schedule__retries=1,
        schedule__retry_delay_seconds=0.1,
        schedule__poll_seconds=0.05,
        **flags,
    )


@pytest.fixture
def clothes(tmp_path: Path) -> Config:
    return of_model(tmp_path, "clothes")


@pytest.fixture
def shoes(tmp_path: Path) -> Config:
    return of_model(tmp_path, "shoes")


def test_runs_of_several_models_go_one_after_the_other(
    schedules, fake_run, clothes: Config, shoes: Config, tmp_path: Path, eventually: Eventually
) -> None:
    for config in (clothes, shoes):
        config.workdir.mkdir()
    for number in range(1, 4):
        add_span(tmp_path / "spans", number)
    served = schedules.serve(watched=tmp_path / "spans", configs=[clothes, shoes])
    eventually(lambda: len(fake_run.calls()) == 2)
    add_span(tmp_path / "spans", 4)
    eventually(lambda: len(fake_run.calls()) == 4)
    eventually(lambda: all(read_state(each).due is None for each in (clothes, shoes)))
    assert served.stop() == 0
    assert not fake_run.overlapped()
    log = served.log.read_text()
    for name in ("clothes", "shoes"):
        assert f"{name}: a run is due: new spans 1, 2, 3" in log
        assert f"{name}: a run is due: new span 4" in log


def test_a_model_that_waits_for_its_workdir_or_a_retry_does_not_hold_up_the_other(
    fake_run, clothes: Config, shoes: Config
) -> None:
    fake_run.outcomes("busy", "pushed", "failed", "failed")
    results: list[dict[str, Any]] = []
    models = [
        ModelSchedule(each, fake_run.command, on_result=results.append) for each in (clothes, shoes)
    ]
    assert Scheduler(models).once() == 1
    assert [(result["model"], result["status"]) for result in results] == [
        ("shoes", "pushed"),
        ("clothes", "failed"),
    ]


def test_a_model_that_cannot_go_on_does_not_stop_the_other(
    fake_run, clothes: Config, shoes: Config, monkeypatch, caplog
) -> None:
    broken = ModelSchedule(clothes, ["/no/such/program"])
    sound = ModelSchedule(shoes, fake_run.command)
    for model in (broken, sound):
        model.resume()
        model.ask_for_run("asked for")
    scheduler = Scheduler([broken, sound])
    while sound.due:
        scheduler._take_turns()
    assert read_state(shoes).last_status == "up_to_date"
    assert broken.due
    assert "clothes: cannot go on" in caplog.text


def test_a_corrupt_state_of_one_model_costs_the_other_nothing(
    fake_run, clothes: Config, shoes: Config, caplog: pytest.LogCaptureFixture
) -> None:
    for config in (clothes, shoes):
        (config.workdir / "schedule").mkdir(parents=True)
    (clothes.workdir / "schedule" / "state.json").write_text("{")
    ScheduleState(spans=(1,)).write(shoes.workdir / "schedule" / "state.json")
    with caplog.at_level(logging.ERROR):
        models = [ModelSchedule(each, fake_run.command) for each in (clothes, shoes)]
        assert Scheduler(models).once() == 0
    assert len(caplog.records) == 1
    assert read_state(shoes).spans == (1,)


def test_nothing_begins_when_one_of_the_workdirs_is_held(
    fake_run, clothes: Config, shoes: Config
) -> None:
    with lock.exclusive(shoes.workdir, "schedule"), pytest.raises(lock.WorkdirBusy):
        Scheduler([ModelSchedule(each, fake_run.command) for each in (clothes, shoes)]).once()
    assert not fake_run.calls()
    with lock.exclusive(clothes.workdir, "schedule"):
        pass  # given back


def test_two_configurations_on_one_workdir_are_refused(tmp_path: Path) -> None:
    configs = {
        "a.toml": load_config(workdir=tmp_path / "var", serving__model_name="a"),
        "b.toml": load_config(workdir=tmp_path / "x" / ".." / "var", serving__model_name="b"),
    }
    with pytest.raises(UsageError) as refused:
        refuse_shared(configs)
    assert str(refused.value) == (
        f"a.toml and b.toml share the workdir {tmp_path / 'var'}; give each one of its own"
    )


@pytest.mark.parametrize("destination", ["{tmp_path}/models", "s3://bucket/models"])
def test_two_configurations_that_push_to_one_folder_are_refused(
    tmp_path: Path, destination: str
) -> None:
    where = destination.format(tmp_path=tmp_path)
    configs = {name: of_model(tmp_path, name, push__destination=where) for name in ("a", "b", "c")}
    with pytest.raises(UsageError, match=f"a and b share the serving directory {where}"):
        refuse_shared(configs)


def test_one_model_name_in_two_serving_directories_is_two_models(tmp_path: Path) -> None:
    refuse_shared({name: load_config(workdir=tmp_path / name) for name in ("a", "b")})
