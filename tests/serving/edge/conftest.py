"""A model directory in which versions go on trial without waiting for a server."""

from collections.abc import Callable
from pathlib import Path

import pytest

from serving.edge.canary import Trial
from serving.versions.publish import publish
from serving.versions.record import Pushed
from serving.versions.store import VersionStore


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.versions.settling.SETTLE_SECONDS", 0.0)
    monkeypatch.setattr("serving.edge.canary._BLIND_SECONDS", 0.0)


@pytest.fixture
def trial(tmp_path: Path, no_waiting: None) -> Trial:
    return Trial(VersionStore(tmp_path / "grey"), "grey")


@pytest.fixture
def push(trial: Trial, tmp_path: Path) -> Callable[[], int]:
    contents = iter(range(100))

    def push_next() -> int:
        model = tmp_path / f"model-{next(contents)}"
        model.mkdir()
        (model / "saved_model.pb").write_text(model.name)
        return publish(trial.store, model, Pushed()).version

    return push_next
