"""The client of the server under validation: a wrong answer is told from none."""

import json
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from components.infra_validator.client import CallFailedError, NoAnswerError, ServingClient
from tests.raw_servers import DRIPS, ODD, STATUS, dripping, ends_within, raw_server


def ask(address: str, seconds: float = 5.0) -> dict[str, np.ndarray]:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    with ServingClient("127.0.0.1:1", f"http://{address}", seconds) as client:
        return client.over_rest(request, ["y"])


def test_an_answer_is_arrays_by_the_names_of_the_outputs() -> None:
    with raw_server([STATUS + b'{"outputs": [1.0, 2.0]}']) as server:
        assert ask(server)["y"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("code", [429, 503, 504])
def test_a_server_that_cannot_take_a_request_now_has_not_answered_it(code: int) -> None:
    body = json.dumps({"error": "Timed out waiting for notification"})
    with (
        raw_server([f"HTTP/1.1 {code} No\r\n\r\n{body}".encode()]) as server,
        pytest.raises(NoAnswerError, match="Timed out waiting"),
    ):
        ask(server)


@pytest.mark.parametrize("code", [400, 404, 412, 500, 501])
def test_an_error_of_the_model_is_an_answer(code: int) -> None:
    with (
        raw_server([f'HTTP/1.1 {code} No\r\n\r\n{{"error": "why"}}'.encode()]) as server,
        pytest.raises(CallFailedError, match="why") as failed,
    ):
        ask(server)
    assert not isinstance(failed.value, NoAnswerError)


@pytest.mark.parametrize("body", [b"3", b"{}", b"[]"])
def test_an_answer_of_another_form_is_one(body: bytes) -> None:
    with raw_server([STATUS + body]) as server, pytest.raises(CallFailedError) as failed:
        ask(server)
    assert not isinstance(failed.value, NoAnswerError)


@pytest.mark.parametrize("name", ["nothing", "half a head", "half an answer", "another chunk"])
def test_half_an_answer_is_none(name: str) -> None:
    with raw_server([ODD[name]]) as server, pytest.raises(NoAnswerError):
        ask(server)


@pytest.mark.parametrize("part", DRIPS)
def test_an_answer_that_comes_byte_by_byte_is_none(part: str) -> None:
    with dripping(*DRIPS[part]) as server, ends_within(30), pytest.raises(NoAnswerError):
        ask(server, 0.3)


@contextmanager
def refusing(code: grpc.StatusCode) -> Iterator[str]:
    """A server that answers every Predict with a code."""

    class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request: Any, context: Any) -> NoReturn:
            context.abort(code, "why")
            raise AssertionError

    server = grpc.server(futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0)


@pytest.mark.parametrize(
    ("code", "is_answer"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, True),
        (grpc.StatusCode.INTERNAL, True),
        (grpc.StatusCode.UNAVAILABLE, False),
        (grpc.StatusCode.DEADLINE_EXCEEDED, False),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, False),
    ],
)
def test_grpc_tells_them_apart_as_rest_does(code: grpc.StatusCode, is_answer: bool) -> None:
    with (
        refusing(code) as address,
        ServingClient(address, "http://127.0.0.1:1", 5.0) as client,
        pytest.raises(CallFailedError, match=f"{code.name}: why") as failed,
    ):
        client.over_grpc(predict_pb2.PredictRequest())
    assert isinstance(failed.value, NoAnswerError) != is_answer
