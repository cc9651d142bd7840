"""The schedule as a user starts it, with real runs on the smoke preset and a real webhook."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.spans import IMAGES_FILE, LABELS_FILE
from runs.exit_status import Status
from runs.result import RunResult
from tests.orchestration.schedule.receiver import Receiver, receiving

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


def test_a_new_span_is_trained_pushed_and_reported_and_a_run_without_news_is_not(
    receiver: Receiver, tmp_path: Path
) -> None:
    watched = tmp_path / "watched"
    arrive(watched, 1)
    log = tmp_path / "log"
    command = [sys.executable, "runner.py", "schedule", "--watch", str(watched)]
    command += ["--preset", "smoke", "--workdir", str(tmp_path), "--model-server", "embedded"]
    command += ["--set", f"schedule.webhook={receiver.url}"]
    command += ["--set", "schedule.poll_seconds=0.2"]
    with log.open("wb") as file:
        schedule = subprocess.Popen(command, cwd=ROOT, stderr=file)
    try:
        posted = RunResult.model_validate_json(receiver.bodies.get(timeout=400))
        assert posted.status is Status.PUSHED
        assert "fashion_mnist: run" in log.read_text()
        assert (tmp_path / "serving" / "fashion_mnist" / str(posted.version)).is_dir()
        arrive(watched, 2)
        while f"nothing new, version {posted.version} is up to date" not in log.read_text():
            assert schedule.poll() is None
            time.sleep(0.1)
        schedule.send_signal(signal.SIGTERM)
        assert schedule.wait(60) == 0
    finally:
        schedule.kill()
        schedule.wait()
    assert receiver.bodies.empty()
    state = json.loads((tmp_path / "schedule" / "state.json").read_text())
    assert (state["spans"], state["due"], state["last_status"]) == ([1, 2], None, "up_to_date")


def arrive(watched: Path, span: int) -> None:
    made = watched / "made"
    made.mkdir(parents=True)
    for name in (IMAGES_FILE, LABELS_FILE):
        (made / name).touch()
    made.rename(watched / str(span))


def test_a_real_run_that_takes_too_long_is_stopped_and_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "runner.py", "schedule", "--once", "--json"]
    command += ["--preset", "smoke", "--workdir", str(tmp_path), "--model-server", "embedded"]
    command += ["--set", "schedule.max_run_seconds=4", "--set", "schedule.retries=0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    result = json.loads(done.stdout)
    assert (result["model"], result["status"]) == ("fashion_mnist", "failed")
    reason = "the run was stopped: it took longer than schedule.max_run_seconds = 4"
    assert result["reasons"] == [reason]
    assert RunResult.model_validate_json(
        (tmp_path / "runs" / f"{result['run_id']}.json").read_bytes()
    ).reasons == [reason]
