"""`serve --edge`: a real nginx in front of the embedded server."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
import requests
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
)

from serving.edge.access_log import read_access
from tests.conftest import ROOT
from tests.integration.conftest import free_port
from tests.integration.edge_stage import MODEL, NGINX, Stage, bodies, wait_until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(NGINX is None, reason="there is no nginx on this machine"),
]

[BODY] = bodies(1)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("edge") / "var")
    stage.push()
    stage.push()
    stage.start()
    yield stage
    stage.stop()


def test_requests_and_answers_pass_through_with_an_id_that_the_log_has_too(stage: Stage) -> None:
    answer = requests.post(stage.url(), data=BODY, headers={"X-Request-Id": "mine-1"})
    assert answer.status_code == 200
    assert answer.headers["X-Request-Id"] == "mine-1"
    assert answer.json()["results"][0][0][0] == "black"
    wait_until(lambda: any(each.request_id == "mine-1" for each in read_access(stage.log)))
    [access] = [each for each in read_access(stage.log) if each.request_id == "mine-1"]
    assert (access.model, access.variant, access.status) == (MODEL, "stable", 200)
    assert 0 < (access.server_seconds or 0) <= access.seconds + 0.001


def test_the_access_log_knows_no_address_no_header_and_no_query(stage: Stage) -> None:
    headers = {"X-Client-Id": "alice", "User-Agent": "phone"}
    requests.post(stage.url() + "?user=alice", data=BODY, headers=headers)
    wait_until(lambda: stage.log.exists() and bool(stage.log.read_text()))
    log = stage.log.read_text()
    assert not any(word in log for word in ("alice", "phone", "127.0.0.1"))
    assert all(json.loads(line) for line in log.splitlines())


def test_status_is_passed_on_and_what_is_not_the_api_is_not(stage: Stage) -> None:
    root = f"http://127.0.0.1:{stage.ports['edge']}"
    assert requests.get(f"{root}/v1/models/{MODEL}").status_code == 200
    assert requests.get(f"{root}/monitoring/prometheus/metrics").status_code == 404


def test_a_body_above_the_limit_is_refused_before_the_server_sees_it(stage: Stage) -> None:
    assert requests.post(stage.url(), data=b" " * 17_000_000).status_code == 413


def test_grpc_passes_and_its_reload_call_does_not(stage: Stage) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{stage.ports['edge-grpc']}") as channel:
        service = model_service_pb2_grpc.ModelServiceStub(channel)
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = MODEL
        assert service.GetModelStatus(request, timeout=60).model_version_status
        with pytest.raises(grpc.RpcError) as refused:
            service.HandleReloadConfigRequest(
                model_management_pb2.ReloadConfigRequest(), timeout=60
            )
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_an_edge_alone_stands_in_front_of_a_server_elsewhere(stage: Stage, tmp_path: Path) -> None:
    """As deployed in a container; its workdir has the served versions, and is its own."""
    port = free_port()
    command = [sys.executable, str(ROOT / "runner.py"), "edge", "--workdir", str(tmp_path)]
    command += [f"--{api}=127.0.0.1:{stage.ports[api]}" for api in ("rest", "grpc")]
    command += [f"--edge-port={port}", f"--edge-grpc-port={free_port()}"]
    command += ["--set", f"serving.model_name={MODEL}", "--set", "traffic.sample=1"]
    (tmp_path / "serving").symlink_to(stage.workdir / "serving")
    edge = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert edge.stdout is not None
        assert edge.stdout.readline() == f"edge http://127.0.0.1:{port}\n"
        url = f"http://127.0.0.1:{port}/v1/models/{MODEL}:classify"
        answer = requests.post(url, data=BODY)
        assert (answer.status_code, answer.headers["X-Variant"]) == (200, "stable")
    finally:
        edge.send_signal(signal.SIGTERM)
        assert edge.wait(60) == 0
    assert len(list(read_access(tmp_path / "edge" / "access.log"))) == 1


def test_nginx_that_is_killed_comes_back(stage: Stage) -> None:
    pid_file = stage.workdir / "edge" / "nginx.pid"
    before = pid_file.read_text()
    os.kill(int(before), signal.SIGTERM)

    def is_another() -> bool:
        with suppress(FileNotFoundError):
            return pid_file.read_text() not in ("", before)
        return False

    def answers() -> bool:
        try:
            return requests.post(stage.url(), data=BODY, timeout=5).status_code == 200
        except (requests.ConnectionError, requests.Timeout):
            return False

    wait_until(is_another)
    wait_until(answers)


def test_a_client_stays_with_its_variant_and_growing_only_adds_clients(stage: Stage) -> None:
    older, newest = sorted(version.number for version in stage.store.served())

    def who_meets_it() -> set[int]:
        found = set()
        for person in range(200):
            headers = {"X-Client-Id": f"person-{person}"}
            answer = requests.post(stage.url(), data=BODY, headers=headers)
            assert answer.status_code == 200, answer.text
            if answer.headers["X-Variant"] == "canary":
                found.add(person)
        return found

    begun = stage.models("canary", newest, "--percent", 20)
    assert begun.returncode == 0, begun.stderr
    assert f"version {older} the others" in begun.stdout
    few = who_meets_it()
    assert few == who_meets_it()
    assert stage.models("canary", newest, "--percent", 60).returncode == 0
    many = who_meets_it()
    assert few < many
    # 200 people, 20 and 60 %: five standard deviations.
    assert 12 <= len(few) <= 68
    assert 85 <= len(many) <= 155
    assert stage.models("promote").returncode == 0
    assert who_meets_it() == set()


def test_a_canary_outlives_a_kill_that_leaves_nothing_behind_and_an_abort_rolls_it_back(
    stage: Stage,
) -> None:
    version = stage.push()
    assert stage.models("canary", version, "--percent", 100).returncode == 0
    stage.stop(signal.SIGKILL)

    def is_gone() -> bool:
        found = subprocess.run(["pgrep", "-f", str(stage.workdir)], capture_output=True)
        return found.returncode == 1

    wait_until(is_gone)
    for bucket in stage.trial.routes.canary.iterdir():
        bucket.unlink()
    stage.start()
    assert requests.post(stage.url(), data=BODY).headers["X-Variant"] == "canary"
    aborted = stage.models("abort", "--reason", "boots became bags")
    assert aborted.returncode == 0, aborted.stderr
    assert requests.post(stage.url(), data=BODY).headers["X-Variant"] == "stable"
    gone = stage.store.get(version)
    assert gone is not None
    assert gone.was_rolled_back
    history = json.loads(stage.models("list", "--history", "--json").stdout)
    assert ("aborted", "boots became bags") in [(e["action"], e["reason"]) for e in history]
