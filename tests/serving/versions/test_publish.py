"""Pushing, going back and pruning in a real directory; the models are small files, not SavedModels.

A version is opaque to `serving.versions`: bytes with checksums, of which one is saved_model.pb.
"""

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.versions import local_storage
from serving.versions.labels import UnknownVersionError, move_label, read_labels
from serving.versions.permissions import Permissions
from serving.versions.prune import prune
from serving.versions.publish import PublishOutcome, PushStatus, publish
from serving.versions.record import Pushed, checksums_of
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

    assert outcome.status is PushStatus.PUSHED
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


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(root: Path) -> dict[str, str]:
    """The permission bits of a folder and all that is in it."""
    paths = [root, *root.rglob("*")]
    return {str(path.relative_to(root)): f"{path.stat().st_mode & 0o777:o}" for path in paths}


@pytest.mark.parametrize("mask", [0o077, 0o022, 0o000])
def test_modes_do_not_depend_on_the_umask(
    store: VersionStore, make_model: ModelMaker, tmp_path: Path, mask: int
) -> None:
    (tmp_path / "stats").mkdir()
    (tmp_path / "stats" / "FeatureStats.pb").write_bytes(b"")
    with umask(mask):
        first = publish(store, make_model("a"), Pushed(), statistics=tmp_path / "stats").version
        move_label(
            store, "stable", first, model_name="m", base_path=None, wait_until_loaded=lambda _: None
        )
        push(store, make_model("b"))
        roll_back(store, None, "bad")

    found = modes(Path(store.storage.base))
    assert {found[name] for name in ("models.config", f"{first}/saved_model.pb")} == {"644"}
    assert {mode for path, mode in found.items() if (base_of(store) / path).is_file()} == {"644"}
    assert {mode for path, mode in found.items() if (base_of(store) / path).is_dir()} == {"755"}


def base_of(store: VersionStore) -> Path:
    return Path(store.storage.base)


def test_mode_and_group_can_be_chosen(tmp_path: Path, make_model: ModelMaker) -> None:
    store = VersionStore(tmp_path / "m", Permissions.parse("0640", str(os.getgid())))

    directory = Path(str(push(store, make_model("a")).directory))

    assert modes(directory)["saved_model.pb"] == "640"
    assert modes(directory)["variables"] == "750"
    assert (directory / "saved_model.pb").stat().st_gid == os.getgid()


def test_a_group_that_does_not_exist_is_named(tmp_path: Path, make_model: ModelMaker) -> None:
    store = VersionStore(tmp_path / "m", Permissions(group="nobody-of-this-name"))

    with pytest.raises(PublishError, match=r"no group nobody-of-this-name.*Nothing was pushed"):
        push(store, make_model("a"))


def link_to_file(model: Path) -> None:
    (model / "assets").symlink_to(model / "saved_model.pb")


def link_to_folder(model: Path) -> None:
    (model / "assets").symlink_to(model / "variables")


def link_to_nowhere(model: Path) -> None:
    (model / "variables" / "assets").symlink_to("/nowhere")


def named_pipe(model: Path) -> None:
    os.mkfifo(model / "assets")


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (link_to_file, "symbolic link to .*saved_model.pb"),
        (link_to_folder, "symbolic link to .*variables"),
        (link_to_nowhere, "symbolic link to /nowhere"),
        (named_pipe, "neither a file nor a folder"),
    ],
)
def test_links_and_special_files_are_refused_by_name_before_anything_is_copied(
    store: VersionStore, make_model: ModelMaker, spoil: Callable[[Path], None], what: str
) -> None:
    model = make_model("a")
    spoil(model)

    with pytest.raises(PublishError, match=rf"assets is (a )?{what}.*Nothing was pushed"):
        push(store, model)
    assert not base_of(store).exists()


def test_a_link_to_the_model_itself_is_followed(
    store: VersionStore, make_model: ModelMaker, tmp_path: Path
) -> None:
    (tmp_path / "latest").symlink_to(make_model("a"))

    assert push(store, tmp_path / "latest").status is PushStatus.PUSHED


@pytest.mark.parametrize("what_fails", ["models.config", "the folder's flush"])
def test_a_failure_after_the_rename_says_that_the_version_is_live(
    store: VersionStore,
    make_model: ModelMaker,
    monkeypatch: pytest.MonkeyPatch,
    what_fails: str,
) -> None:
    first = push(store, make_model("a")).version
    move_label(
        store, "stable", first, model_name="m", base_path=None, wait_until_loaded=lambda _: None
    )
    write, flush = store.storage.write, local_storage.flush

    def full(path: str, text: str) -> None:
        if path == "models.config":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, text)

    def broken(path: Path) -> None:
        if path == base_of(store):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        flush(path)

    with monkeypatch.context() as patch:
        if what_fails == "models.config":
            patch.setattr(store.storage, "write", full)
        else:
            patch.setattr(local_storage, "flush", broken)
        with pytest.raises(PublishError, match=r"Version (\d+) is live in .* could not be comp"):
            push(store, make_model("b"), "execution-2")

    live = store.served()[0]
    assert live.number > first
    again = push(store, make_model("b"), "execution-2")
    assert (again.status, again.version) == (PushStatus.PUSHED, live.number)
    assert f"versions: {live.number}\n" in (base_of(store) / "models.config").read_text()


def test_a_full_disk_before_the_rename_says_that_nothing_was_pushed(
    store: VersionStore, make_model: ModelMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: str, text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store.storage, "write", full)

    with pytest.raises(PublishError, match=r"No space left on device\. Nothing was pushed"):
        push(store, make_model("a"))
    assert store.served() == []


@pytest.mark.parametrize("damage", [b"\xff", b"{", b"", b"null", b"[1]"])
@pytest.mark.parametrize("name", ["{version}.json", "labels.json", "highest"])
def test_one_damaged_file_costs_its_content_and_a_line_never_a_verb(
    store: VersionStore,
    make_model: ModelMaker,
    caplog: pytest.LogCaptureFixture,
    damage: bytes,
    name: str,
) -> None:
    first = push(store, make_model("a")).version
    second = push(store, make_model("b")).version
    move_label(
        store, "stable", first, model_name="m", base_path=None, wait_until_loaded=lambda _: None
    )
    (base_of(store) / ".versions" / name.format(version=second)).write_bytes(damage)

    third = push(store, make_model("c")).version
    roll_back(store, third, "bad")
    prune(store, keep=2)

    assert [version.number for version in store.served()] == [second, first]
    labels = read_labels(store)
    assert labels is not None
    assert labels.labels == {"stable": first}
    assert damage == b"" or ".versions" in caplog.text


def test_a_record_that_may_not_be_read_costs_that_record(
    store: VersionStore, make_model: ModelMaker
) -> None:
    version = push(store, make_model("a")).version
    record = base_of(store) / ".versions" / f"{version}.json"
    record.unlink()
    record.mkdir()

    assert [found.record for found in store.served()] == [None]


def test_the_same_bytes_are_not_pushed_twice(store: VersionStore, make_model: ModelMaker) -> None:
    first = push(store, make_model("a"), "execution-1")
    second = push(store, make_model("a"), "execution-2")

    assert second.status is PushStatus.UP_TO_DATE
    assert second.version == first.version


def test_a_version_deleted_by_hand_is_pushed_again_under_a_higher_number(
    store: VersionStore, make_model: ModelMaker
) -> None:
    first = push(store, make_model("a"), "execution-1")
    shutil.rmtree(str(first.directory))

    again = push(store, make_model("a"), "execution-1")

    assert again.status is PushStatus.PUSHED
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

    assert push(store, make_model("a")).status is PushStatus.PUSHED


def test_a_retried_execution_finds_its_own_push_behind_a_newer_one(
    store: VersionStore, make_model: ModelMaker
) -> None:
    own = push(store, make_model("a"), "execution-1")
    push(store, make_model("b"), "execution-2")

    retried = push(store, make_model("a"), "execution-1")

    assert retried.status is PushStatus.PUSHED
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


def test_a_number_that_no_server_reads_is_not_pushed(
    store: VersionStore, make_model: ModelMaker
) -> None:
    last = 2**63 - 1
    foreign = Path(store.storage.base) / str(last)
    foreign.mkdir(parents=True)

    with pytest.raises(PublishError, match=rf"has a version {last}, .*Nothing was pushed\.$"):
        push(store, make_model("a"))
    assert store.storage.names() == [".versions", str(last)]

    foreign.rmdir()
    # What earlier releases counted on from there.
    store.storage.write(".versions/highest", f"{last + 1}\n")
    outcome = push(store, make_model("a"))
    assert outcome.version < last
    assert push(store, make_model("a")).status is PushStatus.UP_TO_DATE


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
    assert all(outcome.status is PushStatus.PUSHED for outcome in outcomes)
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

    assert outcome.status is PushStatus.ROLLED_BACK
    assert "shirts became coats" in outcome.reasons[0]


def test_a_rolled_back_version_that_was_renamed_back_is_up_to_date_again(
    store: VersionStore, make_model: ModelMaker
) -> None:
    push(store, make_model("good"))
    bad = push(store, make_model("bad"))
    roll_back(store, None, "by mistake")
    base = Path(store.storage.base)
    (base / f"{bad.version}.rolled_back").rename(base / str(bad.version))

    assert push(store, make_model("bad")).status is PushStatus.UP_TO_DATE


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
