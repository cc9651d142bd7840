"""Pushes that begin as a canary, by the executor on real artifacts."""

from pathlib import Path
from typing import Any

import pytest

from serving.edge.canary import Trial
from serving.versions.labels import read_labels
from serving.versions.publish import PushStatus
from serving.versions.storage import PublishError
from serving.versions.store import VersionStore
from tests.components.pusher.conftest import Bless, Push

CANARY: dict[str, Any] = {"canary_percent": 10, "model_name": "grey"}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.edge.canary._BLIND_SECONDS", 0.0)


@pytest.fixture
def trial(store: VersionStore) -> Trial:
    return Trial(store, "grey")


def test_the_first_version_meets_all_and_the_next_a_share(
    trial: Trial,
    bless: Bless,
    push: Push,
) -> None:
    first = push(bless("a"), **CANARY)
    assert (first.status, trial.current()) == (PushStatus.PUSHED, None)
    second = push(bless("b"), "run-2", **CANARY)
    current = trial.current()
    assert current is not None
    assert (current.version, current.stable, current.percent) == (
        second.version,
        first.version,
        10,
    )
    assert trial.routes.pinned.exists()


def test_the_next_push_takes_the_place_of_one_on_trial(
    trial: Trial,
    bless: Bless,
    push: Push,
) -> None:
    stable = push(bless("a"), **CANARY).version
    push(bless("b"), "run-2", **CANARY)
    third = push(bless("c"), "run-3", **CANARY).version
    current = trial.current()
    assert current is not None
    assert (current.version, current.stable) == (third, stable)


def test_a_retry_finds_what_has_come_of_it(
    trial: Trial,
    bless: Bless,
    push: Push,
) -> None:
    push(bless("a"), **CANARY)
    second = push(bless("b"), "run-2", **CANARY)
    trial.promote()
    again = push(bless("b"), "run-2", **CANARY)
    assert (again.status, again.version) == (PushStatus.PUSHED, second.version)
    assert trial.current() is None
    labels = read_labels(trial.store)
    assert labels is not None
    assert labels.labels["stable"] == second.version


def test_what_is_not_pushed_leaves_clients_where_they_were(
    trial: Trial,
    bless: Bless,
    push: Push,
) -> None:
    push(bless("a"), **CANARY)
    assert push(bless("a"), "run-2", **CANARY).status is PushStatus.UP_TO_DATE
    assert not trial.routes.pinned.exists()


def test_a_trial_that_cannot_be_prepared_pushes_nothing(
    trial: Trial,
    bless: Bless,
    push: Push,
) -> None:
    push(bless("a"), **CANARY)
    Path(trial.store.storage.uri(".versions/edge")).write_text("a file, where a folder belongs")
    with pytest.raises(PublishError, match="Nothing was pushed"):
        push(bless("b"), "run-2", **CANARY)
    assert len(trial.store.served()) == 1
