"""Sends requests to the server under validation, over gRPC and over REST."""

from types import TracebackType

import grpc
import numpy as np
import requests
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    prediction_service_pb2_grpc,
)

from components.infra_validator.requests import ServingRequest
from components.infra_validator.rest import rest_answer, rest_body, rest_path

Arrays = dict[str, np.ndarray]

# TensorFlow Serving takes messages of any size; gRPC's default of 4 MB is the client's.
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

_NO_ANSWER = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class CallFailedError(Exception):
    """The server answered a request with an error."""


class NoAnswerError(CallFailedError):
    """The server did not answer a request, or not in time."""


class ServingClient:
    """Both protocols of one server; a context manager."""

    def __init__(self, grpc_address: str, rest_url: str, timeout_seconds: float) -> None:
        # The server is on this machine, where no proxy can reach it.
        options = [*_OPTIONS, ("grpc.enable_http_proxy", 0)]
        self._channel = grpc.insecure_channel(grpc_address, options=options)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._rest_url = rest_url
        self._session = requests.Session()
        self._session.trust_env = False
        self._timeout = timeout_seconds

    def __enter__(self) -> "ServingClient":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._channel.close()
        self._session.close()

    def over_grpc(self, request: ServingRequest) -> Arrays:
        """Sends a request over gRPC and returns the outputs by name.

        Raises:
            CallFailedError: with the server's status code and text.
        """
        try:
            if isinstance(request, classification_pb2.ClassificationRequest):
                answer = self._prediction.Classify(request, timeout=self._timeout)
                return _classifications(answer.result)
            answer = self._prediction.Predict(request, timeout=self._timeout)
        except grpc.RpcError as error:
            failure = NoAnswerError if error.code() in _NO_ANSWER else CallFailedError
            raise failure(f"{error.code().name}: {_one_line(error.details())}") from error
        return {key: tf.make_ndarray(value) for key, value in answer.outputs.items()}

    def over_rest(self, request: ServingRequest, outputs: list[str]) -> Arrays:
        """Sends a request over REST and returns the outputs by name.

        Raises:
            CallFailedError: with the HTTP status and the server's text.
        """
        url = self._rest_url + rest_path(request)
        try:
            response = self._session.post(url, json=rest_body(request), timeout=self._timeout)
        except requests.RequestException as error:
            raise NoAnswerError(_one_line(str(error))) from error
        if response.status_code != 200:
            raise CallFailedError(f"{response.status_code}: {_one_line(response.text)}")
        try:
            return rest_answer(request, response.json(), outputs)
        except (KeyError, TypeError, ValueError) as error:
            raise CallFailedError(f"an answer of the wrong form: {error!r}") from error


def _classifications(result: classification_pb2.ClassificationResult) -> Arrays:
    rows = [row.classes for row in result.classifications]
    return {
        "classes": np.array([[entry.label for entry in row] for row in rows], dtype=object),
        "scores": np.array([[entry.score for entry in row] for row in rows], dtype=np.float32),
    }


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())[:300]
