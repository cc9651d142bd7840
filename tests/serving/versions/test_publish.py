"""Pushing, going back and pruning in a real directory; the models are small files, not SavedModels.

A version is opaque to `serving.versions`: bytes with checksums, of which one is saved_model.pb.
"""

import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.versions.labels import UnknownVersionError
from serving.versions.publish import PublishOutcome, PublishStatus, publish
from serving.versions.record import Pushed, checksums_of
from serving.versions.retention import prune
from serving.versions.rollback import roll_back
from serving.versions.storage import PublishError
from serving.versions.store import VersionState, VersionStore

ModelMaker = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.versions.settling.SETTLE_SECONDS", 0.0)


@pytest.fixture
def make_model(tmp_path: Path) -> ModelMaker:
    def make(content: str) -> Path:
        model = tmp_path / "models" / content
        (model / "variables").mkdir(parents=True, exist_ok=True)
        (model / "saved_model.pb").write_text(f"graph {content}")
        (model / "variables" / "variables.data-00000-of-00001").write_text(f"weights {content}")
        return model

    return make


@pytest.fixture
def store(tmp_path: Path) -> VersionStore:
    return VersionStore(tmp_path / "serving" / "fashion_mnist")


def push(store: VersionStore, model: Path, execution: str = "") -> PublishOutcome:
    return publish(store, model, Pushed(run_id="run-1", execution=execution))


def test_push_creates_a_complete_version_with_its_record(
    store: VersionStore, make_model: ModelMaker
) -> None:
    outcome = push(store, make_model("a"))

    assert outcome.status is PublishStatus.PUSHED
    newest = store.newest_served()
    assert newest is not None
    assert newest.number == outcome.version
    assert newest.record is not None
    assert newest.record.run_id == "run-1"
    assert newest.record.checksums == checksums_of(Path(str(outcome.directory)))
    assert set(newest.record.checksums) == {
        "saved_model.pb",
        "variables/variables.data-00000-of-00001",
    }


def test_other_users_can_read_a_pushed_version(store: VersionStore, make_model: ModelMaker) -> None:
    directory = Path(str(push(store, make_model("a")).directory))

    assert directory.stat().st_mode & 0o555 == 0o555


def test_the_same_bytes_are_not_pushed_twice(store: VersionStore, make_model: ModelMaker) -> None:
    first = push(store, make_model("a"), "execution-1")
    second = push(store, make_model("a"), "execution-2")

    assert second.status is PublishStatus.UP_TO_DATE
    assert second.version == first.version


def test_a_version_deleted_by_hand_is_pushed_again_under_a_higher_number(
    store: VersionStore, make_model: ModelMaker
) -> None:
    first = push(store, make_model("a"), "execution-1")
    shutil.rmtree(str(first.directory))

    again = push(store, make_model("a"), "execution-1")

    assert again.status is PublishStatus.PUSHED
    assert again.version > first.version


def test_a_damaged_version_is_pushed_again(store: VersionStore, make_model: ModelMaker) -> None:
    first = push(store, make_model("a"))
    (Path(str(first.directory)) / "saved_model.pb").write_text("damaged")

    assert push(store, make_model("a")).version > first.version


def test_a_deleted_base_directory_is_pushed_to_again(
    store: VersionStore, make_model: ModelMaker
) -> None:
    push(store, make_model("a"))
    shutil.rmtree(store.storage.base)

    assert push(store, make_model("a")).status is PublishStatus.PUSHED


def test_a_retried_execution_finds_its_own_push_behind_a_newer_one(
    store: VersionStore, make_model: ModelMaker
) -> None:
    own = push(store, make_model("a"), "execution-1")
    push(store, make_model("b"), "execution-2")

    retried = push(store, make_model("a"), "execution-1")

    assert retried.status is PublishStatus.PUSHED
    assert retried.version == own.version
    assert len(store.served()) == 2


def test_an_older_model_can_be_pushed_again_as_the_newest(
    store: VersionStore, make_model: ModelMaker
) -> None:
    push(store, make_model("a"), "execution-1")
    newer = push(store, make_model("b"), "execution-2")

    assert push(store, make_model("a"), "execution-3").version > newer.version


@pytest.mark.parametrize("clock", [0.0, 1e9, 4e9])
def test_numbers_grow_whatever_the_clock_says(
    store: VersionStore, make_model: ModelMaker, monkeypatch: pytest.MonkeyPatch, clock: float
) -> None:
    first = push(store, make_model("a"))
    monkeypatch.setattr("time.time", lambda: clock)

    assert push(store, make_model("b")).version == max(first.version + 1, int(clock))


def test_a_number_is_never_used_again_even_when_all_traces_of_its_version_are_gone(
    store: VersionStore, make_model: ModelMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.0)
    outcome = push(store, make_model("a"))
    shutil.rmtree(str(outcome.directory))
    (Path(store.storage.base) / ".versions" / f"{outcome.version}.json").unlink()

    assert push(store, make_model("b")).version == outcome.version + 1


def test_zero_padded_and_foreign_versions_count_when_a_number_is_chosen(
    store: VersionStore, make_model: ModelMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1.0)
    shutil.copytree(make_model("foreign"), Path(store.storage.base) / "00000123")

    assert push(store, make_model("a")).version == 124
    assert [version.number for version in store.served()] == [124, 123]


def test_racing_pushers_all_succeed_with_different_numbers(
    store: VersionStore, make_model: ModelMaker
) -> None:
    models = [make_model(f"model-{index}") for index in range(8)]
    outcomes: list[PublishOutcome] = []
    threads = [
        threading.Thread(target=lambda model=model: outcomes.append(push(store, model)))
        for model in models
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({outcome.version for outcome in outcomes}) == 8
    assert all(outcome.status is PublishStatus.PUSHED for outcome in outcomes)
    assert all(store.is_intact(version) for version in store.served())


def test_a_model_that_is_not_what_was_blessed_is_not_pushed(
    store: VersionStore, make_model: ModelMaker
) -> None:
    model = make_model("a")
    blessed = checksums_of(model)
    (model / "saved_model.pb").write_text("changed since")

    with pytest.raises(PublishError, match=r"not what was blessed: saved_model.pb differs"):
        publish(store, model, Pushed(), blessed=blessed)
    assert store.served() == []


def test_a_full_disk_leaves_nothing_behind_and_says_so(
    store: VersionStore, make_model: ModelMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr(shutil, "copyfile", full)

    with pytest.raises(PublishError, match=r"No space left on device.*Nothing was pushed"):
        push(store, make_model("a"))
    assert store.storage.names() == [".versions"]


def test_a_record_that_cannot_be_read_is_passed_over(
    store: VersionStore, make_model: ModelMaker
) -> None:
    outcome = push(store, make_model("a"))
    (Path(store.storage.base) / ".versions" / f"{outcome.version}.json").write_text("{")

    assert store.newest_served() is None
    assert [version.record for version in store.served()] == [None]


def test_a_destination_that_cannot_be_written_is_named(
    tmp_path: Path, make_model: ModelMaker
) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(PublishError, match=r"Could not push to .*file/model: Not a directory"):
        push(VersionStore(tmp_path / "file" / "model"), make_model("a"))


def test_what_a_dead_push_left_is_cleared_by_the_next_one(
    store: VersionStore, make_model: ModelMaker
) -> None:
    base = Path(store.storage.base)
    shutil.copytree(make_model("dead"), base / ".staging-dead")
    shutil.copytree(make_model("dead"), base / ".removing-dead")

    outcome = push(store, make_model("a"))

    assert sorted(path.name for path in base.iterdir()) == [".versions", str(outcome.version)]


def test_training_statistics_are_kept_beside_the_record(
    store: VersionStore, make_model: ModelMaker, tmp_path: Path
) -> None:
    (tmp_path / "stats" / "Split-train").mkdir(parents=True)
    (tmp_path / "stats" / "Split-train" / "FeatureStats.pb").write_bytes(b"statistics")

    outcome = publish(store, make_model("a"), Pushed(), statistics=tmp_path / "stats")

    kept = store.statistics(outcome.version)
    assert kept is not None
    assert (Path(kept) / "Split-train" / "FeatureStats.pb").read_bytes() == b"statistics"


def test_rolling_back_renames_the_newest_version_and_records_why(
    store: VersionStore, make_model: ModelMaker
) -> None:
    good = push(store, make_model("good"))
    bad = push(store, make_model("bad"))

    rollback = roll_back(store, None, "shirts became coats")

    assert (rollback.version, rollback.to_version) == (bad.version, good.version)
    assert (Path(store.storage.base) / f"{bad.version}.rolled_back" / "saved_model.pb").exists()
    taken_back = store.get(bad.version)
    assert taken_back is not None
    assert taken_back.state is VersionState.ROLLED_BACK
    assert taken_back.record is not None
    assert taken_back.record.rolled_back is not None
    assert taken_back.record.rolled_back.reason == "shirts became coats"
    newest = store.newest_served()
    assert newest is not None
    assert newest.number == good.version


def test_rolled_back_bytes_are_refused_even_after_their_directory_is_gone(
    store: VersionStore, make_model: ModelMaker
) -> None:
    push(store, make_model("good"))
    bad = push(store, make_model("bad"), "execution-1")
    roll_back(store, bad.version, "shirts became coats")
    shutil.rmtree(Path(store.storage.base) / f"{bad.version}.rolled_back")

    outcome = push(store, make_model("bad"), "execution-1")

    assert outcome.status is PublishStatus.REFUSED
    assert "shirts became coats" in outcome.reasons[0]


def test_a_rolled_back_version_that_was_renamed_back_is_up_to_date_again(
    store: VersionStore, make_model: ModelMaker
) -> None:
    push(store, make_model("good"))
    bad = push(store, make_model("bad"))
    roll_back(store, None, "by mistake")
    base = Path(store.storage.base)
    (base / f"{bad.version}.rolled_back").rename(base / str(bad.version))

    assert push(store, make_model("bad")).status is PublishStatus.UP_TO_DATE


def test_the_only_version_is_rolled_back_only_when_forced(
    store: VersionStore, make_model: ModelMaker
) -> None:
    only = push(store, make_model("a"))

    with pytest.raises(UnknownVersionError, match="nothing would be left to serve"):
        roll_back(store, None, "bad")
    assert roll_back(store, None, "bad", allow_last=True).to_version is None
    assert store.newest_served() is None
    assert f"{only.version}.rolled_back" in store.storage.names()


def test_rolling_back_what_is_not_served_is_refused(
    store: VersionStore, make_model: ModelMaker
) -> None:
    push(store, make_model("a"))

    with pytest.raises(UnknownVersionError, match="Version 5 is not served"):
        roll_back(store, 5, "bad")


def test_pruning_keeps_the_last_n_and_the_records_of_the_others(
    store: VersionStore, make_model: ModelMaker
) -> None:
    numbers = [push(store, make_model(f"m{index}")).version for index in range(5)]

    assert prune(store, keep=3) == numbers[:2]
    assert [version.number for version in store.served()] == numbers[:1:-1]
    pruned = store.get(numbers[0])
    assert pruned is not None
    assert pruned.state is VersionState.PRUNED


def test_pruning_always_leaves_a_version_to_go_back_to(
    store: VersionStore, make_model: ModelMaker
) -> None:
    for index in range(3):
        push(store, make_model(f"m{index}"))

    prune(store, keep=1)

    assert len(store.served()) == 2


def test_pruning_spares_versions_that_a_server_has_loaded(
    store: VersionStore, make_model: ModelMaker
) -> None:
    numbers = [push(store, make_model(f"m{index}")).version for index in range(5)]

    assert prune(store, keep=2, live=[numbers[1]]) == [numbers[0], numbers[2]]


def test_pruning_spares_the_version_that_was_rolled_back_to(
    store: VersionStore, make_model: ModelMaker
) -> None:
    good = push(store, make_model("good")).version
    push(store, make_model("bad"))
    roll_back(store, None, "bad")
    later = [push(store, make_model(f"m{index}")).version for index in range(2)]

    assert prune(store, keep=3) == []
    assert [version.number for version in store.served()] == [later[1], later[0], good]


def test_a_version_is_not_taken_from_a_server_that_may_be_loading_it(
    store: VersionStore, make_model: ModelMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("serving.versions.settling.SETTLE_SECONDS", 60.0)
    monkeypatch.setattr("time.sleep", waits.append)
    for index in range(4):
        push(store, make_model(f"m{index}"))

    prune(store, keep=2)
    roll_back(store, None, "bad")

    assert [round(seconds, -1) for seconds in waits] == [60.0, 60.0]


def test_pruning_leaves_alone_what_it_did_not_push(
    store: VersionStore, make_model: ModelMaker
) -> None:
    shutil.copytree(make_model("foreign"), Path(store.storage.base) / "7")
    for index in range(3):
        push(store, make_model(f"m{index}"))

    assert 7 not in prune(store, keep=2)
    assert store.get(7) is not None
