"""Sends requests to the server under validation, over gRPC and over REST."""

import json
from types import TracebackType

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    prediction_service_pb2_grpc,
)

from components.infra_validator.requests import ServingRequest
from components.infra_validator.rest import rest_answer, rest_body, rest_path
from serving.client.errors import ClientError, client_error
from serving.client.rest_transport import RestTransport
from serving.status import Code

Arrays = dict[str, np.ndarray]

# TensorFlow Serving takes messages of any size; gRPC's default of 4 MB is the client's.
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

_CONNECTIONS = 8


class CallFailedError(Exception):
    """The server answered a request with an error."""


class NoAnswerError(CallFailedError):
    """The server did not answer a request, or not in time, or could not take it now."""


class ServingClient:
    """Both protocols of one server; a context manager."""

    def __init__(self, grpc_address: str, rest_url: str, timeout_seconds: float) -> None:
        # The server is on this machine, where no proxy can reach it.
        options = [*_OPTIONS, ("grpc.enable_http_proxy", 0)]
        self._channel = grpc.insecure_channel(grpc_address, options=options)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._rest_url = rest_url
        self._rest = RestTransport(rest_url, None, _CONNECTIONS)
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
        self._rest.close()

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
            code = Code[error.code().name]
            raise _failure(client_error(code, error.details() or "")) from error
        return {key: tf.make_ndarray(value) for key, value in answer.outputs.items()}

    def over_rest(self, request: ServingRequest, outputs: list[str]) -> Arrays:
        """Sends a request over REST and returns the outputs by name.

        Raises:
            CallFailedError: with the server's status code and text.
        """
        url = self._rest_url + rest_path(request)
        body = json.dumps(rest_body(request)).encode()
        try:
            answer = self._rest.request("POST", url, body, self._timeout)
            return rest_answer(request, answer, outputs)
        except ClientError as error:
            raise _failure(error) from error
        except (KeyError, TypeError, ValueError) as error:
            raise CallFailedError(f"an answer of the wrong form: {error!r}") from error


def _failure(error: ClientError) -> CallFailedError:
    return (NoAnswerError if error.is_accident else CallFailedError)(_one_line(str(error)))


def _classifications(result: classification_pb2.ClassificationResult) -> Arrays:
    rows = [row.classes for row in result.classifications]
    return {
        "classes": np.array([[entry.label for entry in row] for row in rows], dtype=object),
        "scores": np.array([[entry.score for entry in row] for row in rows], dtype=np.float32),
    }


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
