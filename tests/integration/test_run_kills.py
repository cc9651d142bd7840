"""A run that is killed leaves nothing half-done: the next one ends pushed."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.fingerprint import NODES
from pipeline.settings.paths import ROOT
from runs.exit_status import Status
from runs.result import RunResult
from serving.versions.store import VersionStore
from tests.integration.soak_results import write_result


def start(workdir: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, str(ROOT / "runner.py"), "--preset", "smoke", "--json"),
            *("--workdir", str(workdir), "--model-server", "embedded"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_at(workdir: Path, line: str) -> None:
    with start(workdir) as process:
        assert process.stderr is not None
        assert any(line in shown for shown in process.stderr), f"never saw {line!r}"
        process.kill()


def finish(workdir: Path) -> tuple[RunResult, str]:
    with start(workdir) as process:
        output, shown = process.communicate()
    assert process.returncode == 0, shown
    return RunResult.model_validate_json(output), shown


@contextmanager
def partial_versions_seen(serving_dir: Path) -> Iterator[list[str]]:
    """Polls the serving directory as a model server does, for versions without their model."""
    seen: list[str] = []
    stop = threading.Event()

    def poll() -> None:
        while not stop.wait(0.01):
            for version in serving_dir.glob("[0-9]*"):
                if version.name.isdecimal() and not (version / "saved_model.pb").exists():
                    seen.append(version.name)

    poller = threading.Thread(target=poll)
    poller.start()
    try:
        yield seen
    finally:
        stop.set()
        poller.join()


def check_kill(workdir: Path, line: str) -> str:
    serving_dir = workdir / "serving" / "fashion_mnist"
    with partial_versions_seen(serving_dir) as partial:
        kill_at(workdir, line)
        result, shown = finish(workdir)
    # Killed after the rename, the push was done already.
    assert result.status in (Status.PUSHED, Status.UP_TO_DATE)
    assert partial == []
    store = VersionStore(serving_dir)
    newest = store.newest_served()
    assert newest is not None
    assert store.is_intact(newest)
    return shown


@pytest.mark.integration
def test_training_that_was_killed_goes_on_from_its_last_epoch(tmp_path: Path) -> None:
    shown = check_kill(tmp_path, "epoch 4/8")
    assert "training resumes after epoch" in shown


@pytest.mark.soak
def test_a_run_killed_during_any_node_ends_pushed_when_repeated(tmp_path: Path) -> None:
    for node in NODES:
        check_kill(tmp_path / node, f"{node}: running")
    write_result(
        "run_kills", {"preset": "smoke", "nodes killed": list(NODES), "partial versions": 0}
    )
