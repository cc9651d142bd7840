"""The REST API of a real server process, as `requests` and `curl` see it."""

import gzip
import json
import shutil
import socket
import subprocess
from typing import Any

import pytest
import requests

from tests.integration.conftest import CONFORMANCE, ModelServerProcess, StartModelServer
from tests.serving.conformance.comparison import same_body

pytestmark = pytest.mark.integration

EXCHANGES = [
    exchange
    for exchange in json.loads((CONFORMANCE / "exchanges.json").read_text())
    if exchange["protocol"] == "rest"
]
FASHION = next(exchange for exchange in EXCHANGES if exchange["id"] == "rest_fashion_png")


@pytest.fixture(scope="module")
def session() -> requests.Session:
    return requests.Session()


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange["id"])
def test_every_recorded_exchange_is_answered_as_recorded(
    conformance_server: ModelServerProcess, session: requests.Session, exchange: dict[str, Any]
) -> None:
    body = exchange["body"]
    answer = session.request(
        exchange["method"],
        conformance_server.url + exchange["path"],
        data=body.encode() if body is not None else None,
    )
    assert answer.status_code == exchange["status"]
    assert answer.headers["Content-Type"] == exchange["content_type"]
    assert same_body(answer.content.decode("utf-8", "surrogateescape"), exchange["response"])


def predict(server: ModelServerProcess, body: Any, **arguments: Any) -> requests.Response:
    url = f"{server.url}/v1/models/half_plus:predict"
    return requests.post(url, data=json.dumps(body), timeout=60, **arguments)


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"instances": [2.0, 3.0, 4.0]}, {"predictions": [4.0, 4.5, 5.0]}),
        ({"instances": [[1.0, 2.0], [3.0, 4.0]]}, {"predictions": [[3.5, 4.0], [4.5, 5.0]]}),
        ({"inputs": [2.0, 3.0, 4.0]}, {"outputs": [4.0, 4.5, 5.0]}),
        ({"instances": [5e6, 1e12]}, {"predictions": [2500003.0, 5e11]}),
    ],
)
def test_predictions_in_row_and_column_format(
    conformance_server: ModelServerProcess, body: Any, answer: Any
) -> None:
    assert predict(conformance_server, body).json() == answer


def test_a_gzipped_request_is_read(conformance_server: ModelServerProcess) -> None:
    answer = requests.post(
        f"{conformance_server.url}/v1/models/half_plus:predict",
        data=gzip.compress(b'{"instances": [1.0]}'),
        headers={"Content-Encoding": "gzip"},
        timeout=60,
    )
    assert answer.json() == {"predictions": [3.5]}


def test_a_large_batch_is_answered(conformance_server: ModelServerProcess) -> None:
    numbers = [float(number) for number in range(200_000)]
    answer = predict(conformance_server, {"instances": numbers}).json()
    assert answer["predictions"] == [0.5 * number + 3 for number in numbers]


def test_half_a_million_nested_brackets_are_answered(
    conformance_server: ModelServerProcess,
) -> None:
    url = f"{conformance_server.url}/v1/models/half_plus:predict"
    nested = "[" * 500_000 + "]" * 500_000
    answer = requests.post(url, data=f'{{"instances": [1], "nested": {nested}}}', timeout=120)
    assert answer.json() == {"predictions": [3.5]}


def test_metrics_are_served_as_text(conformance_server: ModelServerProcess) -> None:
    url = f"{conformance_server.url}/monitoring/prometheus/metrics"
    page = requests.get(url, timeout=60)
    assert page.headers["Content-Type"] == "text/plain"
    assert page.text.startswith("# TYPE")
    wrong = requests.get(url, params={"a": "b"}, timeout=60)
    assert wrong.status_code == 400
    assert wrong.text.startswith("Unexpected path: ")


def test_flags_decide_on_cors_and_metrics(start_model_server: StartModelServer) -> None:
    server = start_model_server(
        "--model_name=half_plus",
        f"--model_base_path={CONFORMANCE / 'models' / 'half_plus'}",
        "--rest_api_enable_cors_support=true",
    )
    answer = predict(server, {"instances": [1.0]})
    assert answer.json() == {"predictions": [3.5]}
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    url = f"{server.url}/v1/models/half_plus:predict"
    preflight = requests.options(url, headers={"Origin": "https://a.example"}, timeout=60)
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Methods"] == "POST, GET"
    metrics = requests.get(f"{server.url}/monitoring/prometheus/metrics", timeout=60)
    assert metrics.status_code == 404


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_works_unchanged(conformance_server: ModelServerProcess) -> None:
    url = f"{conformance_server.url}/v1/models/fashion:classify"

    def curl(*arguments: str) -> Any:
        command = ["curl", "--silent", "--show-error", "--fail", *arguments, url]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)

    expected = json.loads(FASHION["response"])["results"][0][0][0]
    assert curl("-d", FASHION["body"])["results"][0][0][0] == expected
    # With this header the body follows only after the server said to go on.
    answer = curl("-d", FASHION["body"], "-H", "Expect: 100-continue", "--http2")
    assert answer["results"][0][0][0] == expected


def test_a_client_that_stalls_in_mid_request_keeps_nobody_waiting(
    conformance_server: ModelServerProcess,
) -> None:
    address = ("127.0.0.1", conformance_server.rest_port)
    with socket.create_connection(address, timeout=30) as stalled:
        stalled.sendall(
            b"POST /v1/models/half_plus:predict HTTP/1.1\r\nContent-Length: 20\r\n\r\n{"
        )
        assert predict(conformance_server, {"instances": [1.0]}).json() == {"predictions": [3.5]}
