"""The schedule as a user starts it, with real runs on the smoke preset and a real webhook."""

import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue

import pytest

from orchestration.schedule.webhook import post
from runs.result import RunResult, Status

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


class Receiver(ThreadingHTTPServer):
    """Takes posts; answers with the next of `answers`, and 200 when there is none left."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[int] = []
        self.bodies: SimpleQueue[bytes] = SimpleQueue()

    @property
    def url(self) -> str:
        return f"http://user:secret@127.0.0.1:{self.server_address[1]}/hook?token=secret"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.bodies.put(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keeps the test's output clean."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def result() -> RunResult:
    result = RunResult(run_id="one", started_at=datetime.now(UTC))
    result.finish(Status.FAILED, ["it broke"])
    return result


def test_a_result_is_posted_until_the_receiver_takes_it(
    receiver: Receiver, result: RunResult
) -> None:
    receiver.answers = [503, 429]
    post(receiver.url, result)
    bodies = [receiver.bodies.get() for _ in range(3)]
    assert [RunResult.model_validate_json(body) for body in bodies] == [result] * 3
    assert receiver.bodies.empty()


@pytest.mark.parametrize("status", [400, 503])
def test_a_receiver_that_refuses_is_logged_without_its_secrets(
    receiver: Receiver, result: RunResult, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [status] * 9
    with caplog.at_level(logging.INFO, logger="pipeline"):
        post(receiver.url, result, repeats=1)
    assert f"the webhook at 127.0.0.1:{receiver.server_address[1]} failed" in caplog.text
    assert "secret" not in caplog.text


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
    (made / "images-idx3-ubyte").touch()
    made.rename(watched / str(span))
