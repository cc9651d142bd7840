"""A version on trial: how it begins, how it ends, and what an interruption leaves."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from serving.edge.canary import CanaryError, Trial
from serving.versions.journal import read_entries
from serving.versions.labels import read_labels
from serving.versions.local_storage import LocalStorage
from serving.versions.rollback import roll_back
from tests.raw_servers import DRIPS, ODD, dripping, ends_within, raw_server


def labels(trial: Trial) -> dict[str, int]:
    state = read_labels(trial.store)
    return state.labels if state else {}


def shown(trial: Trial) -> tuple[bool, int]:
    return trial.routes.pinned.exists(), trial.routes.percent()


def test_it_begins_with_both_labels_and_a_share(trial: Trial, push: Callable[[], int]) -> None:
    stable, new = push(), push()
    trial.begin(new, 10, "a new season")
    assert labels(trial) == {"stable": stable, "canary": new}
    assert shown(trial) == (True, 10)
    current = trial.current()
    assert current is not None
    assert (current.version, current.stable, current.reason) == (new, stable, "a new season")


def test_promoted_it_meets_all_and_the_next_push_does_too(
    trial: Trial, push: Callable[[], int]
) -> None:
    push()
    new = push()
    trial.begin(new, 10)
    trial.promote("it is better")
    assert labels(trial) == {"stable": new, "canary": new}
    assert shown(trial) == (False, 0)
    assert trial.current() is None
    assert (read_entries(trial.store)[-1].action, read_entries(trial.store)[-1].reason) == (
        "promoted",
        "it is better",
    )


def test_aborted_it_is_rolled_back_and_both_labels_are_answered(
    trial: Trial, push: Callable[[], int]
) -> None:
    stable, new = push(), push()
    trial.begin(new, 10)
    trial.abort("boots became bags")
    assert labels(trial) == {"stable": stable, "canary": stable}
    assert shown(trial) == (False, 0)
    version = trial.store.get(new)
    assert version is not None
    assert version.was_rolled_back


def test_only_the_newest_of_several_goes_on_trial_and_only_one(
    trial: Trial, push: Callable[[], int]
) -> None:
    first = push()
    with pytest.raises(CanaryError, match="the only one"):
        trial.begin(first, 10)
    second = push()
    with pytest.raises(CanaryError, match="older than"):
        trial.begin(first, 10)
    with pytest.raises(CanaryError, match="not served"):
        trial.begin(7, 10)
    trial.begin(second, 10)
    with pytest.raises(CanaryError, match="on trial"):
        trial.begin(push(), 10)


def test_without_a_trial_there_is_nothing_to_end(trial: Trial, push: Callable[[], int]) -> None:
    push()
    with pytest.raises(CanaryError, match="no version is on trial"):
        trial.promote()
    with pytest.raises(CanaryError, match="no version is on trial"):
        trial.abort("why not")


def test_a_version_pushed_during_a_trial_stays_out_of_sight(
    trial: Trial, push: Callable[[], int]
) -> None:
    push()
    new = push()
    trial.begin(new, 10)
    newer = push()
    trial.abort("slow")
    assert shown(trial) == (True, 0)
    trial.begin(newer, 20)
    trial.promote()
    assert shown(trial) == (False, 0)


def test_what_nginx_looks_for_follows_from_what_is_written(
    trial: Trial, push: Callable[[], int]
) -> None:
    push()
    trial.begin(push(), 40)
    trial.routes.show(pinned=False, percent=0)
    trial.restore()
    assert shown(trial) == (True, 40)


def test_a_version_that_was_rolled_back_by_other_means_is_no_trial(
    trial: Trial, push: Callable[[], int]
) -> None:
    push()
    new = push()
    trial.begin(new, 40)
    roll_back(trial.store, new, "by hand")
    trial.restore()
    assert shown(trial) == (False, 0)
    trial.abort("it is gone")
    assert trial.current() is None


@pytest.fixture
def after_stable_was_rolled_back(trial: Trial, push: Callable[[], int]) -> tuple[int, int, int]:
    """Three versions, the last of them on trial, and the second, which was stable, taken back."""
    versions = push(), push(), push()
    trial.begin(versions[2], 10)
    roll_back(trial.store, versions[1], "by hand")
    return versions


def test_a_trial_goes_on_beside_the_version_that_is_stable_after_a_rollback(
    trial: Trial, after_stable_was_rolled_back: tuple[int, int, int]
) -> None:
    first, _, new = after_stable_was_rolled_back
    current = trial.current()
    assert current is not None
    assert (current.version, current.stable) == (new, first)
    trial.begin(new, 20)
    assert labels(trial) == {"stable": first, "canary": new}


def test_aborted_after_stable_was_rolled_back_it_leaves_the_version_before_that(
    trial: Trial, after_stable_was_rolled_back: tuple[int, int, int]
) -> None:
    first = after_stable_was_rolled_back[0]
    assert trial.abort("slow").stable == first
    assert labels(trial) == {"stable": first, "canary": first}
    assert [version.number for version in trial.store.served()] == [first]
    assert trial.current() is None


def test_promoted_after_stable_was_rolled_back_it_meets_all(
    trial: Trial, after_stable_was_rolled_back: tuple[int, int, int]
) -> None:
    new = after_stable_was_rolled_back[2]
    trial.promote("it is better")
    assert labels(trial) == {"stable": new, "canary": new}
    assert shown(trial) == (False, 0)


def test_the_last_version_that_is_left_is_promoted_and_not_aborted(
    trial: Trial, push: Callable[[], int]
) -> None:
    stable, new = push(), push()
    trial.begin(new, 10)
    roll_back(trial.store, stable, "by hand")
    with pytest.raises(CanaryError, match=f"version {new} is the only one that is left"):
        trial.abort("slow")
    assert labels(trial) == {"stable": new, "canary": new}
    trial.promote()
    assert trial.current() is None


def test_without_any_version_the_trial_ends_with_its_label(
    trial: Trial, push: Callable[[], int]
) -> None:
    stable, new = push(), push()
    trial.begin(new, 10)
    roll_back(trial.store, stable, "by hand")
    roll_back(trial.store, new, "by hand", allow_last=True)
    trial.abort("all are gone")
    assert labels(trial) == {}
    assert trial.current() is None


@pytest.mark.parametrize("stable_goes", [False, True])
def test_an_abort_that_was_interrupted_is_ended_by_the_next(
    trial: Trial, push: Callable[[], int], monkeypatch: pytest.MonkeyPatch, stable_goes: bool
) -> None:
    first, second, new = push(), push(), push()
    trial.begin(new, 10)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trial, "_wait_until_gone", interrupt)
        with pytest.raises(KeyboardInterrupt):
            trial.abort("slow")
    if stable_goes:
        roll_back(trial.store, second, "by hand")
    stable = trial.abort("slow").stable
    assert stable == (first if stable_goes else second)
    assert labels(trial) == {"stable": stable, "canary": stable}


@pytest.mark.parametrize("written", range(5))
def test_a_promotion_that_was_killed_between_two_files_is_completed_by_the_next(
    trial: Trial, push: Callable[[], int], monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    push()
    new = push()
    trial.begin(new, 10)
    writes, write = iter(range(written)), LocalStorage.write

    def killed(storage: LocalStorage, path: str, text: str) -> None:
        if next(writes, None) is None:
            raise KeyboardInterrupt
        write(storage, path, text)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            trial.promote("better")
    trial.promote("better")
    config = trial.store.storage.read("models.config") or ""
    assert f'version_labels {{ key: "stable" value: {new} }}' in config
    assert labels(trial) == {"stable": new, "canary": new}


def test_the_trial_of_a_version_that_is_gone_is_in_the_way_of_none(
    trial: Trial, push: Callable[[], int]
) -> None:
    push()
    gone = push()
    trial.begin(gone, 40)
    roll_back(trial.store, gone, "by hand")
    assert trial.current() is None
    with pytest.raises(CanaryError, match="no version is on trial"):
        trial.promote()
    new = push()
    trial.begin(new, 10)
    current = trial.current()
    assert current is not None
    assert current.version == new


def test_a_trial_is_written_off_once_its_version_is_gone(
    trial: Trial, push: Callable[[], int]
) -> None:
    stable, new = push(), push()
    trial.write_off()
    trial.begin(new, 40)
    trial.write_off()
    assert shown(trial) == (True, 40)
    roll_back(trial.store, new, "by hand")
    trial.write_off()
    assert shown(trial) == (False, 0)
    assert labels(trial) == {"stable": stable, "canary": stable}
    entries = read_entries(trial.store)
    trial.write_off()
    assert read_entries(trial.store) == entries
    assert (entries[-1].action, entries[-1].reason) == ("aborted", "by hand")


def test_an_end_that_comes_late_leaves_the_trial_that_has_begun_since(
    trial: Trial, push: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    push()
    gone = push()
    trial.begin(gone, 40)
    roll_back(trial.store, gone, "by hand")
    new = push()

    def meanwhile(self: Trial, version: int) -> None:
        monkeypatch.undo()
        Trial(trial.store, trial.model_name, trial.server).begin(new, 10)

    monkeypatch.setattr(Trial, "_wait_until_gone", meanwhile)
    trial.write_off()
    current = trial.current()
    assert current is not None
    assert (current.version, current.percent) == (new, 10)
    assert shown(trial) == (True, 10)


def test_an_abort_that_a_judge_looks_into_is_told_once_with_its_reason(
    trial: Trial, push: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    push()
    trial.begin(push(), 40)

    def meanwhile(self: Trial, version: int) -> None:
        monkeypatch.undo()
        trial.write_off()

    monkeypatch.setattr(Trial, "_wait_until_gone", meanwhile)
    trial.abort("boots became bags")
    told = [entry.reason for entry in read_entries(trial.store) if entry.action == "aborted"]
    assert told == ["boots became bags"]


def test_a_damaged_record_is_said_and_not_guessed(trial: Trial, push: Callable[[], int]) -> None:
    push()
    trial.begin(push(), 40)
    trial.store.storage.write(".versions/canary.json", "{")
    with pytest.raises(CanaryError, match=r"canary\.json cannot be read"):
        trial.current()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.edge.canary._LABEL_SECONDS", 0.3)
    monkeypatch.setattr("serving.edge.canary._ANSWER_SECONDS", 0.3)


@pytest.mark.parametrize("sent", ODD.values(), ids=ODD)
def test_a_server_that_is_none_is_told_in_one_sentence(
    trial: Trial, push: Callable[[], int], impatient: None, sent: bytes
) -> None:
    push()
    new = push()
    with raw_server([sent]) as server, pytest.raises(CanaryError, match="did not come to be"):
        replace(trial, server=server).begin(new, 10)
    assert trial.current() is None


@pytest.mark.parametrize("part", DRIPS)
def test_a_server_that_answers_byte_by_byte_is_not_waited_for(
    trial: Trial, push: Callable[[], int], impatient: None, part: str
) -> None:
    push()
    new = push()
    with (
        dripping(*DRIPS[part]) as server,
        ends_within(30),
        pytest.raises(CanaryError, match="no answer from"),
    ):
        replace(trial, server=server).begin(new, 10)
