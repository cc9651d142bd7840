"""The recorder beside the edge: what it writes, and that no client feels it."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import requests

from serving.edge.access_log import read_access
from serving.traffic.reading import newest
from tests.integration.edge_stage import MODEL, NGINX, Stage, bodies, clients, wait_until
from tests.tiny_models import LABELS

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(NGINX is None, reason="there is no nginx on this machine"),
]

PIXELS = json.dumps({"signature_name": "predict_images", "instances": [[[[255.0]] * 4] * 4]})


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("recorded") / "var")
    stage.push()
    stage.start("--set", "traffic.sample=1")
    wait_until(lambda: recorder_of(stage) is not None)
    yield stage
    stage.stop()


def recorder_of(stage: Stage) -> psutil.Process | None:
    assert stage.process is not None
    for child in psutil.Process(stage.process.pid).children():
        with suppress(psutil.NoSuchProcess):  # It may end between two questions.
            # Once it listens, what is handed over is not lost.
            if "serving.edge.recorder" in " ".join(child.cmdline()) and child.net_connections():
                return child
    return None


def recorded(stage: Stage) -> Path:
    return stage.workdir / "traffic" / "recorded"


def ask_until_recorded(stage: Stage, request_id: str, body: str, verb: str = "classify") -> None:
    """Asks, and again if it was not recorded: a busy machine's recorder may miss a request."""

    def is_recorded() -> bool:
        ids = {each.origin.request_id for each in newest(recorded(stage), MODEL)}
        return request_id in ids

    for _ in range(6):
        headers = {"X-Request-Id": request_id}
        assert requests.post(stage.url(verb), data=body, headers=headers).status_code == 200
        with suppress(AssertionError):
            wait_until(is_recorded, 5)
            return
    raise AssertionError(f"{request_id} is never recorded")


def test_requests_are_recorded_with_answer_version_variant_and_id(stage: Stage) -> None:
    for number, body in enumerate(bodies(5)):
        ask_until_recorded(stage, f"one-{number}", body)
    ask_until_recorded(stage, "pixels", PIXELS, "predict")
    pictures = {each.origin.request_id: each for each in newest(recorded(stage), MODEL)}
    [version] = [each.number for each in stage.store.served()]
    for number, label in enumerate(LABELS):
        picture = pictures[f"one-{number}"]
        assert picture.answer is not None
        assert picture.answer.label == label
        assert (picture.origin.variant, picture.origin.version) == ("stable", version)
        assert abs(picture.origin.time - time.time()) < 60
    assert pictures["pixels"].signature == "predict_images"
    assert pictures["pixels"].answer is not None
    assert pictures["pixels"].answer.label == "white"


def test_what_is_no_request_is_answered_by_the_server_and_not_recorded(stage: Stage) -> None:
    headers = {"X-Request-Id": "no-json"}
    assert requests.post(stage.url(), data="{", headers=headers).status_code == 400
    ask_until_recorded(stage, "after", bodies(1)[0])
    assert "no-json" not in {each.origin.request_id for each in newest(recorded(stage), MODEL)}


@pytest.mark.parametrize("fault", ["stopped", "killed"])
def test_a_recorder_in_trouble_costs_no_request(stage: Stage, fault: str) -> None:
    wait_until(lambda: recorder_of(stage) is not None)
    recorder = recorder_of(stage)
    assert recorder is not None
    begin = time.time()
    if fault == "stopped":
        recorder.suspend()
    else:
        recorder.kill()
    try:
        with clients(stage) as answers:
            time.sleep(4)
    finally:
        if fault == "stopped":
            recorder.resume()
    assert answers.failures == []
    assert answers.count > 20
    slow = [each for each in read_access(stage.log, since=begin) if each.seconds > 10]
    assert slow == []


def test_when_the_trouble_is_over_it_records_again(stage: Stage) -> None:
    wait_until(lambda: recorder_of(stage) is not None)

    def is_recorded() -> bool:
        requests.post(stage.url(), data=bodies(1)[0])
        return bool(newest(recorded(stage), MODEL))

    wait_until(is_recorded)


def test_it_ends_with_the_server(stage: Stage) -> None:
    recorder = recorder_of(stage)
    assert recorder is not None
    assert stage.process is not None
    os.kill(stage.process.pid, signal.SIGTERM)
    wait_until(lambda: not recorder.is_running())
