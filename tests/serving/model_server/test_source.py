"""Which versions a base path holds, and which of them a policy wants (research F10)."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.model_server.errors import Code, ServingError
from serving.model_server.source import (
    AspiredVersions,
    FileSystemSource,
    MonitoredModel,
    VersionChoice,
    aspired_versions,
    version_number,
)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name in ("1", "2", "013", "20170111173521", ".5", "6.denied", "tmp-7", "9x"):
        (tmp_path / "m" / name).mkdir(parents=True)
    return tmp_path / "m"


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("1", 1),
        ("013", 13),
        ("20170111173521", 20170111173521),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", None),
        ("1.0", None),
        ("1_000", None),
        ("2.denied", None),
        (".1", None),
        ("", None),
        ("\u0661", None),
    ],
)
def test_a_version_is_a_folder_named_by_an_int64(name: str, number: int | None) -> None:
    assert version_number(name) == number


@pytest.mark.parametrize(
    ("model", "versions"),
    [
        ({}, {20170111173521}),
        ({"num_versions": 2}, {20170111173521, 13}),
        ({"num_versions": 99}, {20170111173521, 13, 2, 1}),
        ({"choice": VersionChoice.ALL}, {20170111173521, 13, 2, 1}),
        ({"choice": VersionChoice.SPECIFIC, "versions": frozenset([1, 13, 4])}, {1, 13}),
        ({"choice": VersionChoice.SPECIFIC, "versions": frozenset([4])}, set()),
    ],
)
def test_a_policy_chooses_among_the_versions(
    base: Path, model: dict[str, object], versions: set[int]
) -> None:
    aspired = aspired_versions(MonitoredModel("m", base, **model))  # type: ignore[arg-type]
    assert set(aspired) == versions
    assert all(version_number(path.name) == version for version, path in aspired.items())


def test_a_missing_base_path_is_named() -> None:
    with pytest.raises(ServingError) as refusal:
        aspired_versions(MonitoredModel("m", Path("/nowhere/m")))
    assert refusal.value.code == Code.INVALID_ARGUMENT
    assert refusal.value.message.startswith("Could not find base path /nowhere/m for servable m")


def test_a_base_path_that_vanishes_unloads_nothing(base: Path) -> None:
    calls: list[tuple[str, AspiredVersions]] = []
    source = FileSystemSource(lambda name, versions: calls.append((name, versions)), 0)
    source.update([MonitoredModel("m", base)])
    source.poll()
    base.rename(base.with_name("gone"))
    source.poll()
    assert [set(versions) for _, versions in calls] == [{20170111173521}]


def test_a_model_no_longer_configured_wants_no_versions(base: Path) -> None:
    calls: list[tuple[str, AspiredVersions]] = []
    source = FileSystemSource(lambda name, versions: calls.append((name, versions)), 0)
    source.update([MonitoredModel("m", base)])
    source.update([MonitoredModel("other", base)])
    assert calls == [("m", {})]


def test_a_model_that_cannot_be_read_holds_up_no_other(base: Path) -> None:
    calls: list[tuple[str, AspiredVersions]] = []
    source = FileSystemSource(lambda name, versions: calls.append((name, versions)), 0)
    file = base / "a_file"
    file.touch()
    bad = [Path("/nowhere"), file, Path("/a\0b"), Path("/" + "x" * 5000)]
    source.update([*(MonitoredModel(str(path), path) for path in bad), MonitoredModel("m", base)])
    source.poll()
    assert [name for name, _ in calls] == ["m"]


def test_without_polling_each_config_is_looked_at_once(base: Path) -> None:
    calls: list[str] = []
    source = FileSystemSource(lambda name, versions: calls.append(name), 0)
    source.update([MonitoredModel("first", base)])
    source.start()
    eventually(lambda: calls == ["first"])
    source.update([MonitoredModel("first", base), MonitoredModel("later", base)])
    eventually(lambda: calls == ["first", "first", "later"])
    source.stop()


def test_a_negative_interval_never_looks(base: Path) -> None:
    source = FileSystemSource(lambda name, versions: pytest.fail("looked"), -1)
    source.update([MonitoredModel("m", base)])
    source.start()
    assert not source.polls
    source.stop()


def test_a_file_system_that_does_not_answer_holds_up_no_stop(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.model_server.source._STOP_SECONDS", 0.05)
    looking, answered = threading.Event(), threading.Event()

    def look(folder: Path) -> Iterator[Path]:
        looking.set()
        answered.wait(10)
        return iter(())

    monkeypatch.setattr(Path, "iterdir", look)
    source = FileSystemSource(lambda name, versions: None, 1)
    source.update([MonitoredModel("m", base)])
    source.start()
    assert looking.wait(10)
    source.stop()
    assert not answered.is_set()
    answered.set()
