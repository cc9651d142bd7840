"""Versions on an object store: TensorFlow's in-memory file system stands for one."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from serving.versions.prune import prune
from serving.versions.publish import PublishOutcome, PushStatus, publish
from serving.versions.record import Pushed
from serving.versions.rollback import roll_back
from serving.versions.storage import PublishError
from serving.versions.store import VersionState, VersionStore

_bases = itertools.count()


@pytest.fixture(autouse=True)
def _no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.versions.settling.SETTLE_SECONDS", 0.0)


@pytest.fixture
def store() -> VersionStore:
    return VersionStore(f"ram://bucket/models-{next(_bases)}/fashion_mnist")


@pytest.fixture
def push(store: VersionStore, tmp_path: Path) -> Callable[[str], PublishOutcome]:
    def push_model(content: str) -> PublishOutcome:
        model = tmp_path / content
        (model / "variables").mkdir(parents=True, exist_ok=True)
        (model / "saved_model.pb").write_text(f"graph {content}")
        (model / "variables" / "variables.index").write_text(f"weights {content}")
        return publish(store, model, Pushed(run_id="run-1"))

    return push_model


Push = Callable[[str], PublishOutcome]


def test_a_pushed_version_is_complete_and_recorded(store: VersionStore, push: Push) -> None:
    outcome = push("a")

    newest = store.newest_served()
    assert newest is not None
    assert newest.number == outcome.version
    assert newest.directory == f"{store.storage.base}/{outcome.version}"
    assert store.is_intact(newest)
    assert newest.record is not None
    assert newest.record.run_id == "run-1"


def test_saved_model_comes_last(
    store: VersionStore, push: Push, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []
    copy = tf.io.gfile.copy

    def watch(source: str, target: str, overwrite: bool = False) -> None:
        copied.append(Path(target).name)
        copy(source, target, overwrite)

    monkeypatch.setattr(tf.io.gfile, "copy", watch)
    push("a")

    assert copied == ["variables.index", "saved_model.pb"]


def test_a_copy_that_fails_leaves_no_version(
    store: VersionStore, push: Push, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: str, target: str, overwrite: bool = False) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "quota exceeded")

    monkeypatch.setattr(tf.io.gfile, "copy", fail)

    with pytest.raises(PublishError, match=r"quota exceeded.*Nothing was pushed"):
        push("a")
    assert store.served() == []


def test_what_a_dead_push_left_is_no_version_and_is_removed(
    store: VersionStore, push: Push
) -> None:
    good, dead = push("good"), push("dead")
    tf.io.gfile.remove(f"{dead.directory}/saved_model.pb")

    newest = store.newest_served()
    assert newest is not None
    assert newest.number == good.version
    assert push("next").version > dead.version
    assert prune(store, keep=5) == [dead.version]


def test_the_same_bytes_are_not_pushed_twice(push: Push) -> None:
    first = push("a")

    assert push("a").status is PushStatus.UP_TO_DATE
    assert push("b").version > first.version


def test_a_version_can_be_rolled_back_and_is_refused_afterwards(
    store: VersionStore, push: Push
) -> None:
    good, bad = push("good"), push("bad")

    roll_back(store, None, "shirts became coats")

    newest = store.newest_served()
    assert newest is not None
    assert newest.number == good.version
    taken_back = store.get(bad.version)
    assert taken_back is not None
    assert taken_back.state is VersionState.ROLLED_BACK
    assert push("bad").status is PushStatus.ROLLED_BACK


def test_old_versions_can_be_pruned(store: VersionStore, push: Push) -> None:
    numbers = [push(name).version for name in "abcd"]

    assert prune(store, keep=2) == numbers[:2]
    assert [version.number for version in store.served()] == numbers[:1:-1]


def test_training_statistics_are_kept(store: VersionStore, tmp_path: Path) -> None:
    model, statistics = tmp_path / "model", tmp_path / "statistics"
    (statistics / "Split-train").mkdir(parents=True)
    (statistics / "Split-train" / "FeatureStats.pb").write_text("statistics")
    model.mkdir()
    (model / "saved_model.pb").write_text("graph")

    outcome = publish(store, model, Pushed(), statistics=statistics)

    kept = f"{store.statistics(outcome.version)}/Split-train/FeatureStats.pb"
    assert tf.io.gfile.GFile(kept).read() == "statistics"
