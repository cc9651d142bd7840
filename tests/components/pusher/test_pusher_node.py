"""Pusher as a node of a pipeline whose other nodes are cached."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.pusher.component import Pusher
from components.pusher.executor import PushResult, read_result
from serving.versions.publish import PushStatus
from serving.versions.rollback import roll_back
from serving.versions.store import VersionStore
from tests.components.pusher.blesser import Blesser


@pytest.fixture(autouse=True)
def _no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.versions.settling.SETTLE_SECONDS", 0.0)


@pytest.fixture
def run(launch: Callable[..., Any], tmp_path: Path) -> Callable[[str], PushResult]:
    def run_once(content: str) -> PushResult:
        blesser = Blesser(content)
        pusher = Pusher(blesser.outputs["blessing"], destination=str(tmp_path / "serving"))
        launched = launch([blesser, pusher])
        assert launched["Pusher"].state == "COMPLETE"
        return read_result(launched["Pusher"].outputs["pushed_model"][0])

    return run_once


def test_every_run_asks_the_serving_directory_anew(
    run: Callable[[str], PushResult], tmp_path: Path
) -> None:
    store = VersionStore(tmp_path / "serving")

    pushed = run("model")
    again = run("model")
    shutil.rmtree(str(pushed.destination))
    deleted = run("model")
    roll_back(store, None, "bad", allow_last=True)
    rolled_back = run("model")

    assert pushed.status is PushStatus.PUSHED
    assert again.status is PushStatus.UP_TO_DATE
    assert deleted.status is PushStatus.PUSHED
    assert rolled_back.status is PushStatus.ROLLED_BACK


def test_the_record_names_the_run(run: Callable[[str], PushResult], tmp_path: Path) -> None:
    run("model")

    newest = VersionStore(tmp_path / "serving").newest_served()
    assert newest is not None
    assert newest.record is not None
    assert newest.record.execution == f"{newest.record.run_id}/Pusher"
