"""Taking a rollback back, and who did what to the versions."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.versions.journal import Action, read_entries
from serving.versions.labels import UnknownVersionError, move_label
from serving.versions.publish import PushStatus, publish
from serving.versions.record import Pushed, checksums_of
from serving.versions.restore import restore
from serving.versions.rollback import roll_back
from serving.versions.store import VersionState, VersionStore


@pytest.fixture(autouse=True)
def _no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.versions.settling.SETTLE_SECONDS", 0.0)


@pytest.fixture
def store(tmp_path: Path) -> VersionStore:
    return VersionStore(tmp_path / "serving")


@pytest.fixture
def push(store: VersionStore, tmp_path: Path) -> Callable[[str], int]:
    def push_model(content: str) -> int:
        model = tmp_path / content
        model.mkdir(exist_ok=True)
        (model / "saved_model.pb").write_text(content)
        return publish(store, model, Pushed(run_id=content)).version

    return push_model


def test_a_restored_version_is_served_again_with_its_bytes(
    store: VersionStore, push: Callable[[str], int], tmp_path: Path
) -> None:
    push("a")
    second = push("b")
    roll_back(store, second, "it looked bad")
    restore(store, second, "the server was at fault")
    served = store.newest_served()
    assert served is not None
    assert served.number == second
    assert served.record is not None
    assert served.record.rolled_back is None
    assert store.is_intact(served)


def test_after_a_restore_the_like_of_it_may_be_pushed_again(
    store: VersionStore, push: Callable[[str], int], tmp_path: Path
) -> None:
    push("a")
    roll_back(store, push("b"), "it looked bad")
    model = tmp_path / "b"
    assert publish(store, model, Pushed(run_id="again")).status is PushStatus.ROLLED_BACK
    [bad] = [version.number for version in store.versions() if version.directory][:1]
    restore(store, bad, "it was not")
    assert publish(store, model, Pushed(run_id="again")).status is PushStatus.UP_TO_DATE


@pytest.mark.parametrize("number", [0, 4711])
def test_only_what_was_rolled_back_can_be_restored(
    store: VersionStore, push: Callable[[str], int], number: int
) -> None:
    served = push("a")
    with pytest.raises(UnknownVersionError, match="is not rolled back; rolled back are none"):
        restore(store, number or served, "why not")


def test_the_journal_says_which_version_had_a_label_and_who_took_one_back(
    store: VersionStore, push: Callable[[str], int]
) -> None:
    first, second = push("a"), push("b")
    for version in (first, second):
        move_label(
            store,
            "stable",
            version,
            model_name="m",
            base_path=None,
            wait_until_loaded=lambda _: None,
        )
    roll_back(store, second, "shirts became coats")
    restore(store, second, "they did not")
    entries = read_entries(store)
    assert [(entry.action, entry.version, entry.before) for entry in entries] == [
        (Action.LABELLED, first, None),
        (Action.LABELLED, second, first),
        (Action.LABELLED, first, second),
        (Action.ROLLED_BACK, second, None),
        (Action.RESTORED, second, None),
    ]
    assert all("@" in entry.who for entry in entries)
    assert entries[-1].reason == "they did not"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{}\n", b"[1]\nnonsense\n"])
def test_a_damaged_journal_costs_its_lines_and_no_verb(
    store: VersionStore,
    push: Callable[[str], int],
    content: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    push("a")
    second = push("b")
    (Path(store.storage.base) / ".versions" / "journal.jsonl").write_bytes(content)
    roll_back(store, second, "bad")
    assert [entry.action for entry in read_entries(store)] == [Action.ROLLED_BACK]
    assert "journal.jsonl" in caplog.text


def test_the_journal_of_a_user_whom_the_system_does_not_know_names_a_number(
    store: VersionStore, push: Callable[[str], int], nobody: None
) -> None:
    push("a")
    roll_back(store, push("b"), "bad")
    assert read_entries(store)[-1].who.startswith(f"uid {os.getuid()}@")


@pytest.mark.parametrize("undo", [False, True])
def test_who_cannot_be_named_has_changed_nothing(
    store: VersionStore, push: Callable[[str], int], monkeypatch: pytest.MonkeyPatch, undo: bool
) -> None:
    push("a")
    second = push("b")
    move_label(
        store, "stable", second, model_name="m", base_path=None, wait_until_loaded=lambda _: None
    )
    if undo:
        roll_back(store, second, "bad")
    before = checksums_of(Path(store.storage.base))
    monkeypatch.setattr("socket.gethostname", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        (restore if undo else roll_back)(store, second, "bad")
    assert checksums_of(Path(store.storage.base)) == before


@pytest.mark.parametrize("reason", ["ticket:\u2028shirts became coats", "x\x85y", "a\nb\r\x1cc"])
def test_the_journal_keeps_a_reason_whatever_is_in_it(
    store: VersionStore,
    push: Callable[[str], int],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    push("a")
    second = push("b")
    roll_back(store, second, reason)
    restore(store, second, reason)
    assert [entry.reason for entry in read_entries(store)] == [reason, reason]
    assert "damaged" not in caplog.text


def test_a_version_that_was_put_back_by_copying_it_can_be_taken_back_again(
    store: VersionStore, push: Callable[[str], int]
) -> None:
    push("a")
    second = push("b")
    base = Path(store.storage.base)
    roll_back(store, second, "bad")
    shutil.copytree(base / f"{second}.rolled_back", base / str(second))

    roll_back(store, second, "bad again")

    version = store.get(second)
    assert version is not None
    assert version.state is VersionState.ROLLED_BACK
    assert version.record is not None
    assert version.record.rolled_back is not None
    assert version.record.rolled_back.reason == "bad again"
    assert store.is_intact(version)


def test_a_version_that_could_not_be_taken_back_has_a_record_that_does_not_say_so(
    store: VersionStore, push: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    push("a")
    second = push("b")

    def refused(name: str, new_name: str) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)

    monkeypatch.setattr(store.storage, "rename", refused)
    with pytest.raises(PermissionError):
        roll_back(store, second, "bad")
    newest = store.newest_served()
    assert newest is not None
    assert newest.number == second
    assert newest.record is not None
    assert newest.record.rolled_back is None


def test_a_version_that_was_taken_back_in_part_stays_refused(
    store: VersionStore, push: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """File by file, as on NFS and in a bucket, the model goes first."""
    push("a")
    second = push("b")

    def stale(name: str, new_name: str) -> None:
        (Path(store.storage.base) / name / "saved_model.pb").unlink()
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), name)

    monkeypatch.setattr(store.storage, "rename", stale)
    with pytest.raises(OSError, match="Stale"):
        roll_back(store, second, "bad")
    version = store.get(second)
    assert version is not None
    assert version.record is not None
    assert version.record.rolled_back is not None
