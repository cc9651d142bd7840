"""Random and broken REST requests: the server answers each, blames the client, and serves on."""

import json
import os
import socket

import pytest
import requests

from tests.integration.conftest import CONFORMANCE, ModelServerProcess
from tests.integration.rest_fuzz import RestFuzzer
from tests.integration.soak_results import write_result

# With the gRPC requests of test_model_server_grpc_fuzz.py, a million.
SMALL, FULL = 2_000, int(os.environ.get("FUZZ_REQUESTS", "600000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))


def serves_right(server: ModelServerProcess) -> bool:
    url = f"{server.url}/v1/models/half_plus:predict"
    answer = requests.post(url, data='{"instances": [1.0, 2.0]}', timeout=60)
    return bool(answer.json() == {"predictions": [3.5, 4.0]})


def fuzz(server: ModelServerProcess, count: int, seed: int) -> dict[int, int]:
    """Sends `count` requests; returns how often each status was answered."""
    exchanges = json.loads((CONFORMANCE / "exchanges.json").read_text())
    fuzzer = RestFuzzer(seed, [item for item in exchanges if item["protocol"] == "rest"])
    statuses: dict[int, int] = {}
    for number in range(count):
        request = fuzzer.request()
        status = fuzzer.send(("127.0.0.1", server.rest_port), request)
        statuses[status] = statuses.get(status, 0) + 1
        # 501 is TensorFlow Serving's answer to a method it does not know.
        assert status < 500 or status == 501, request
        if number % 500 == 0:
            assert server.process.poll() is None
            assert serves_right(server)
    assert serves_right(server)
    return statuses


@pytest.mark.integration
def test_broken_requests_are_the_clients_fault_and_harm_nobody(
    conformance_server: ModelServerProcess,
) -> None:
    statuses = fuzz(conformance_server, SMALL, seed=0)
    assert statuses[200] > SMALL // 50
    assert statuses[400] > SMALL // 2


@pytest.mark.integration
def test_connections_that_break_off_harm_nobody(conformance_server: ModelServerProcess) -> None:
    request = (
        b"POST /v1/models/half_plus:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n"
        b'{"instances": [1.0]}'
    )
    for end in range(len(request)):
        with socket.create_connection(("127.0.0.1", conformance_server.rest_port)) as client:
            client.sendall(request[:end])
    assert serves_right(conformance_server)


@pytest.mark.soak
def test_a_long_run_of_broken_requests(conformance_server: ModelServerProcess) -> None:
    statuses = fuzz(conformance_server, FULL, SEED)
    result = {
        "seed": SEED,
        "requests": FULL,
        "answers by status": {str(status): count for status, count in sorted(statuses.items())},
        "crashes, hangs, wrong answers afterwards": 0,
    }
    write_result("model_server_rest_fuzz", result)
