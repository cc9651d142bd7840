"""Taking a rollback back, and who did what to the versions."""

from collections.abc import Callable
from pathlib import Path

import pytest

from serving.versions.journal import Action, read_entries
from serving.versions.labels import UnknownVersionError, move_label
from serving.versions.publish import PushStatus, publish
from serving.versions.record import Pushed
from serving.versions.restore import restore
from serving.versions.rollback import roll_back
from serving.versions.store import VersionStore


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
