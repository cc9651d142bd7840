"""The manager with a loader that loads nothing: transitions, retries, versions in use."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from serving.model_server.errors import Code, ServingError, VersionRefusedError
from serving.model_server.manager import Manager, ManagerOptions, Outcome
from serving.model_server.state_monitor import State, StateMonitor
from serving.model_server.version_policy import AspiredVersionPolicy


class FakeServable:
    def __init__(self, version: int) -> None:
        self.version = version
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


class FakeLoader:
    """Fails versions in `broken` and `refused`; waits for `gate` before it returns others."""

    def __init__(self) -> None:
        self.broken: set[int] = set()
        self.refused: set[int] = set()
        self.attempts: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.loaded: dict[int, FakeServable] = {}

    def load(self, name: str, version: int, path: Path) -> Any:
        self.attempts.append(version)
        if version in self.broken:
            raise ServingError(Code.NOT_FOUND, f"no {path}")
        if version in self.refused:
            raise VersionRefusedError(Code.FAILED_PRECONDITION, f"{path} is refused")
        assert self.gate.wait(60)
        self.loaded[version] = FakeServable(version)
        return self.loaded[version]


class RecordingMonitor(StateMonitor):
    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[int, State]] = []

    def publish(
        self, name: str, version: int, state: State, error: ServingError | None = None
    ) -> None:
        self.events.append((version, state))
        super().publish(name, version, state, error)


@pytest.fixture
def loader() -> FakeLoader:
    return FakeLoader()


@pytest.fixture
def monitor() -> RecordingMonitor:
    return RecordingMonitor()


@pytest.fixture
def start(loader: FakeLoader, monitor: RecordingMonitor) -> Iterator[Callable[..., Manager]]:
    managers = []

    def starter(**options: Any) -> Manager:
        options = {"max_num_load_retries": 0} | options
        manager = Manager(cast(Any, loader), monitor, ManagerOptions(**options))
        manager.start()
        managers.append(manager)
        return manager

    yield starter
    loader.gate.set()
    for manager in managers:
        manager.stop()


def aspire(manager: Manager, *versions: int) -> None:
    manager.set_aspired_versions("m", {version: Path(f"/m/{version}") for version in versions})


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def states(monitor: StateMonitor) -> dict[int, State]:
    return {item.version: item.state for item in monitor.versions("m")}


def test_the_old_version_serves_until_the_new_one_is_available(
    start: Callable[..., Manager], loader: FakeLoader, monitor: RecordingMonitor
) -> None:
    manager = start()
    aspire(manager, 1)
    eventually(lambda: states(monitor) == {1: State.AVAILABLE})
    loader.gate.clear()
    aspire(manager, 2)
    eventually(lambda: states(monitor) == {1: State.AVAILABLE, 2: State.LOADING})
    with manager.handle("m", None) as servable:
        assert servable.version == 1
    loader.gate.set()
    eventually(lambda: states(monitor) == {1: State.END, 2: State.AVAILABLE})
    with manager.handle("m", None) as servable:
        assert servable.version == 2
    assert monitor.events == [
        (1, State.START),
        (1, State.LOADING),
        (1, State.AVAILABLE),
        (2, State.START),
        (2, State.LOADING),
        (2, State.AVAILABLE),
        (1, State.UNLOADING),
        (1, State.END),
    ]


def test_resource_preserving_unloads_first(
    start: Callable[..., Manager], monitor: RecordingMonitor
) -> None:
    manager = start(policy=AspiredVersionPolicy.RESOURCE_PRESERVING)
    aspire(manager, 1)
    eventually(lambda: states(monitor) == {1: State.AVAILABLE})
    aspire(manager, 2)
    eventually(lambda: states(monitor) == {1: State.END, 2: State.AVAILABLE})
    assert monitor.events.index((1, State.END)) < monitor.events.index((2, State.LOADING))


def test_a_version_in_use_is_unloaded_only_after_its_last_request(
    start: Callable[..., Manager], loader: FakeLoader, monitor: RecordingMonitor
) -> None:
    manager = start()
    aspire(manager, 1)
    eventually(lambda: states(monitor) == {1: State.AVAILABLE})
    with manager.handle("m", 1):
        aspire(manager, 2)
        eventually(lambda: states(monitor) == {1: State.UNLOADING, 2: State.AVAILABLE})
        with pytest.raises(ServingError, match=r"Specific\(m, 1\)"):
            manager.handle("m", 1)
        assert not loader.loaded[1].is_closed
    eventually(lambda: states(monitor)[1] == State.END)
    assert loader.loaded[1].is_closed


def test_a_request_that_never_ends_holds_up_no_other_version(
    start: Callable[..., Manager], loader: FakeLoader, monitor: RecordingMonitor
) -> None:
    manager = start()
    aspire(manager, 1)
    eventually(lambda: states(monitor) == {1: State.AVAILABLE})
    with manager.handle("m", 1):
        aspire(manager, 2)
        eventually(lambda: states(monitor) == {1: State.UNLOADING, 2: State.AVAILABLE})
        aspire(manager, 3)
        eventually(lambda: states(monitor)[2] is State.END)
        assert states(monitor) == {1: State.UNLOADING, 2: State.END, 3: State.AVAILABLE}
        aspire(manager)
        eventually(lambda: states(monitor)[3] is State.END)
    eventually(lambda: states(monitor)[1] is State.END)


def test_a_version_rolled_back_to_serves_at_once_though_a_request_holds_it_on_its_way_out(
    start: Callable[..., Manager], loader: FakeLoader, monitor: RecordingMonitor
) -> None:
    manager = start()
    aspire(manager, 1)
    eventually(lambda: states(monitor) == {1: State.AVAILABLE})
    with manager.handle("m", 1):
        aspire(manager, 2)
        eventually(lambda: states(monitor) == {1: State.UNLOADING, 2: State.AVAILABLE})
        aspire(manager, 1)
        eventually(lambda: states(monitor) == {1: State.AVAILABLE, 2: State.END})
    with manager.handle("m", None) as servable:
        assert servable.version == 1
    assert loader.attempts == [1, 2]
    assert not loader.loaded[1].is_closed


def test_a_version_that_lies_elsewhere_now_is_loaded_when_the_held_one_is_out(
    start: Callable[..., Manager], loader: FakeLoader, monitor: RecordingMonitor
) -> None:
    manager = start()
    aspire(manager, 1)
    eventually(lambda: states(monitor) == {1: State.AVAILABLE})
    with manager.handle("m", 1):
        aspire(manager)
        eventually(lambda: states(monitor) == {1: State.UNLOADING})
        manager.set_aspired_versions("m", {1: Path("/elsewhere/1")})
        time.sleep(0.05)
        assert loader.attempts == [1]
    eventually(lambda: loader.attempts == [1, 1])


def test_a_version_that_requests_hold_for_long_is_named_once(
    start: Callable[..., Manager], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("serving.model_server.manager._LONG_UNLOAD_SECONDS", 0.05)
    manager = start()
    aspire(manager, 1)
    eventually(lambda: manager.outcome("m") == Outcome(1))
    with manager.handle("m", 1), manager.handle("m", 1):
        aspire(manager, 2)
        eventually(lambda: "still loaded" in caplog.text)
        aspire(manager, 3)
        eventually(lambda: manager.outcome("m") == Outcome(3))
    assert [record.getMessage() for record in caplog.records if "still" in record.message] == [
        "model m version 1 is still loaded: 2 requests to it are not answered yet"
    ]


def test_a_version_that_takes_long_to_close_costs_no_processor(
    start: Callable[..., Manager], loader: FakeLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.model_server.manager._LONG_UNLOAD_SECONDS", 0.05)
    manager = start(num_unload_threads=1)
    aspire(manager, 1)
    eventually(lambda: manager.outcome("m") == Outcome(1))
    closing, gate = threading.Event(), threading.Event()

    def close() -> None:
        closing.set()
        gate.wait(60)

    monkeypatch.setattr(loader.loaded[1], "close", close)
    aspire(manager, 2)
    assert closing.wait(60)
    turns = []
    take_turn = manager._take_turn
    monkeypatch.setattr(manager, "_take_turn", lambda: (turns.append(1), take_turn()))
    time.sleep(0.3)
    gate.set()
    # One a limit of 0.05 s, of however long the pause became; without one there are thousands.
    assert len(turns) < 100


def test_a_failed_load_is_retried_then_ends_with_its_error(
    start: Callable[..., Manager], loader: FakeLoader, monitor: RecordingMonitor
) -> None:
    loader.broken = {1}
    manager = start(max_num_load_retries=2, load_retry_interval_micros=1000)
    aspire(manager, 1)
    eventually(lambda: states(monitor) == {1: State.END})
    assert loader.attempts == [1, 1, 1]
    [status] = monitor.versions("m")
    assert (status.code, status.message) == (Code.NOT_FOUND, "no /m/1")


def test_a_failed_version_never_disturbs_the_one_being_served(
    start: Callable[..., Manager], loader: FakeLoader, monitor: RecordingMonitor
) -> None:
    loader.broken = {2}
    manager = start()
    aspire(manager, 1)
    eventually(lambda: states(monitor) == {1: State.AVAILABLE})
    aspire(manager, 2)
    eventually(lambda: states(monitor) == {1: State.AVAILABLE, 2: State.END})
    aspire(manager, 3)
    eventually(lambda: states(monitor) == {1: State.END, 2: State.END, 3: State.AVAILABLE})


def test_a_version_taken_away_is_not_retried_any_more(
    start: Callable[..., Manager], loader: FakeLoader, monitor: RecordingMonitor
) -> None:
    loader.broken = {1}
    manager = start(max_num_load_retries=5, load_retry_interval_micros=3_600_000_000)
    aspire(manager, 1)
    eventually(lambda: loader.attempts == [1])
    aspire(manager, 2)
    eventually(lambda: states(monitor) == {1: State.END, 2: State.AVAILABLE})
    assert loader.attempts == [1, 2]


@pytest.mark.parametrize("failure", [MemoryError(), RecursionError("deep"), GeneratorExit()])
def test_whatever_a_load_raises_ends_the_version_not_the_manager(
    start: Callable[..., Manager],
    loader: FakeLoader,
    monitor: RecordingMonitor,
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
) -> None:
    manager = start(recovery_pause_seconds=1000)
    with monkeypatch.context() as patch:
        patch.setattr(loader, "load", lambda *arguments: (_ for _ in ()).throw(failure))
        aspire(manager, 1)
        eventually(lambda: states(monitor) == {1: State.END})
    assert monitor.versions("m")[0].code in (Code.RESOURCE_EXHAUSTED, Code.INTERNAL)
    aspire(manager, 2)
    eventually(lambda: states(monitor) == {1: State.END, 2: State.AVAILABLE})


def test_a_version_that_failed_for_a_passing_reason_is_tried_again_in_growing_pauses(
    start: Callable[..., Manager],
    loader: FakeLoader,
    monitor: RecordingMonitor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures = [PermissionError(13, "Permission denied", "/m/1")] * 3
    load = loader.load

    def unreadable_at_first(name: str, version: int, path: Path) -> Any:
        if failures:
            raise failures.pop()
        return load(name, version, path)

    monkeypatch.setattr(loader, "load", unreadable_at_first)
    manager = start(recovery_pause_seconds=0.01, longest_recovery_pause_seconds=0.02)
    aspire(manager, 1)
    eventually(lambda: states(monitor) == {1: State.AVAILABLE})
    assert (1, State.END) in monitor.events
    pauses = [line.split("next try in ")[1].split(" s")[0] for line in caplog.messages]
    assert pauses == ["0.01", "0.02", "0.02"]


def test_a_retry_holds_up_no_other_load(
    start: Callable[..., Manager], loader: FakeLoader, monitor: RecordingMonitor
) -> None:
    loader.broken = {1}
    manager = start(max_num_load_retries=5, load_retry_interval_micros=3_600_000_000)
    aspire(manager, 1)
    eventually(lambda: loader.attempts == [1])
    manager.set_aspired_versions("other", {7: Path("/other/7")})
    eventually(lambda: bool(monitor.versions("other")))
    eventually(lambda: monitor.versions("other")[0].state is State.AVAILABLE)
    assert states(monitor) == {1: State.LOADING}


def test_a_servable_that_does_not_close_is_unloaded_all_the_same(
    start: Callable[..., Manager], loader: FakeLoader, monitor: RecordingMonitor
) -> None:
    manager = start()
    aspire(manager, 1)
    eventually(lambda: states(monitor) == {1: State.AVAILABLE})
    loader.loaded[1].close = lambda: 1 // 0  # type: ignore[method-assign,assignment]
    aspire(manager, 2)
    eventually(lambda: states(monitor) == {1: State.END, 2: State.AVAILABLE})


def test_a_version_that_comes_back_is_loaded_again(
    start: Callable[..., Manager], loader: FakeLoader, monitor: RecordingMonitor
) -> None:
    manager = start()
    for versions in ((1,), (2,), (1,)):
        aspire(manager, *versions)
        newest = versions[0]
        eventually(lambda newest=newest: states(monitor).get(newest) == State.AVAILABLE)
    eventually(lambda: states(monitor) == {1: State.AVAILABLE, 2: State.END})
    assert loader.attempts == [1, 2, 1]


def test_with_no_version_wanted_all_are_unloaded(
    start: Callable[..., Manager], monitor: RecordingMonitor
) -> None:
    manager = start()
    aspire(manager, 1, 2)
    eventually(lambda: states(monitor) == {1: State.AVAILABLE, 2: State.AVAILABLE})
    aspire(manager)
    eventually(lambda: states(monitor) == {1: State.END, 2: State.END})
    with pytest.raises(ServingError, match=r"Latest\(m\)"):
        manager.handle("m", None)


def test_load_threads_load_side_by_side(
    start: Callable[..., Manager], loader: FakeLoader, monitor: RecordingMonitor
) -> None:
    loader.gate.clear()
    manager = start(num_load_threads=2, num_unload_threads=1)
    aspire(manager, 1, 2)
    eventually(lambda: states(monitor) == {1: State.LOADING, 2: State.LOADING})
    loader.gate.set()
    eventually(lambda: states(monitor) == {1: State.AVAILABLE, 2: State.AVAILABLE})


def test_a_refused_version_ends_at_once_and_the_one_before_it_goes_on(
    start: Callable[..., Manager], loader: FakeLoader, monitor: RecordingMonitor
) -> None:
    manager = start(max_num_load_retries=5)
    aspire(manager, 1)
    eventually(lambda: states(monitor) == {1: State.AVAILABLE})
    loader.refused.add(2)
    aspire(manager, 2)
    eventually(lambda: states(monitor) == {1: State.AVAILABLE, 2: State.END})
    assert loader.attempts == [1, 2]
    with manager.handle("m", None) as servable:
        assert servable.version == 1
    aspire(manager, 3)
    eventually(lambda: states(monitor).get(3) is State.AVAILABLE)


def test_the_outcome_of_a_version_that_is_on_its_way_out_is_that_of_its_return(
    start: Callable[..., Manager], monitor: RecordingMonitor
) -> None:
    manager = start()
    aspire(manager, 1)
    eventually(lambda: manager.outcome("m") == Outcome(1))
    with manager.handle("m", 1):
        aspire(manager)
        eventually(lambda: states(monitor) == {1: State.UNLOADING})
        assert manager.outcome("m") is None
        aspire(manager, 1)
        eventually(lambda: manager.outcome("m") == Outcome(1))
    assert [state for _, state in monitor.events].count(State.AVAILABLE) == 2


def test_a_version_wanted_again_before_its_turn_came_simply_stays(
    start: Callable[..., Manager], loader: FakeLoader, monitor: RecordingMonitor
) -> None:
    manager = start()
    aspire(manager, 1)
    eventually(lambda: manager.outcome("m") == Outcome(1))
    loader.gate.clear()
    manager.set_aspired_versions("busy", {7: Path("/busy/7")})
    eventually(lambda: loader.attempts == [1, 7])
    aspire(manager)
    aspire(manager, 1)
    assert manager.outcome("m") is None
    loader.gate.set()
    eventually(lambda: manager.outcome("m") == Outcome(1))
    assert State.UNLOADING not in [state for _, state in monitor.events]


@pytest.mark.parametrize("num_threads", [0, 2])
def test_an_earlier_error_is_not_the_outcome_of_a_new_attempt(
    num_threads: int, start: Callable[..., Manager], loader: FakeLoader
) -> None:
    manager = start(num_load_threads=num_threads, num_unload_threads=num_threads)
    loader.refused.add(1)
    aspire(manager, 1)
    eventually(lambda: manager.outcome("m") is not None)
    outcome = manager.outcome("m")
    assert outcome is not None
    assert isinstance(outcome.error, VersionRefusedError)
    aspire(manager)
    eventually(lambda: not manager._pending)
    assert manager.outcome("m") is None
    loader.refused.clear()
    loader.gate.clear()
    aspire(manager, 1)
    eventually(lambda: loader.attempts == [1, 1])
    assert manager.outcome("m") is None
    loader.gate.set()
    eventually(lambda: manager.outcome("m") == Outcome(1))
