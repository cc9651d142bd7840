"""A served model over REST. Imports neither TensorFlow nor gRPC."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from serving.addresses import base_url
from serving.client.errors import InvalidRequestError, understood
from serving.client.interface import Example, ScoredLabel, Signature, TensorSpec
from serving.client.rest_transport import RestTransport
from serving.client.retry import Retries
from serving.client.selection import check_selection, choose_signature
from serving.client.status import parse_statuses, wait_until_available
from serving.client.tensors import input_arrays, string_array, tensor_spec
from serving.client.tls import TlsOptions
from serving.status import Code, VersionStatus

# Kept open; more threads than that make further ones.
_CONNECTIONS = 8


class RestClient:
    """Asks `model_name` at `url`, such as http://localhost:8501. A ModelClient.

    May be used by several threads at once. A loopback address is never asked through a proxy.
    """

    def __init__(
        self,
        url: str,
        model_name: str,
        timeout: float = 30.0,
        retries: Retries | None = None,
        tls: TlsOptions | None = None,
    ) -> None:
        """Sends nothing yet.

        Args:
            url: `http://` or `https://`, host and port; `host:port` is `http://`.
            model_name: under which the server serves the model.
            timeout: seconds, for one attempt.
            retries: of requests that nothing answers.
            tls: for `https://`.

        Raises:
            InvalidRequestError: the URL or the TLS options cannot be used.
        """
        server = base_url(url)
        self._model_url = f"{server}/v1/models/{quote(model_name, safe='')}"
        self._model_name = model_name
        self._timeout = timeout
        self._retries = retries or Retries()
        self._transport = RestTransport(server, tls, _CONNECTIONS)
        self._signatures: dict[tuple[int | None, str | None], dict[str, Signature]] = {}

    def status(self, version: int | None = None) -> list[VersionStatus]:
        """See ModelClient."""
        return self._status(version, self._retries, self._timeout)

    def wait_until_available(
        self, version: int | None = None, timeout: float = 60.0
    ) -> VersionStatus:
        """See ModelClient."""
        once = Retries(attempts=1)
        return wait_until_available(
            lambda seconds: self._status(version, once, min(seconds, self._timeout)),
            timeout,
            self._model_name,
        )

    def signature(
        self, signature_name: str = "", version: int | None = None, label: str | None = None
    ) -> Signature:
        """See ModelClient. Remembered, so a model's versions should keep their signatures."""
        known = self._signatures.get((version, label))
        if known is None:
            url = f"{self._url(version, label)}/metadata"
            answer = self._request("GET", url, None, self._retries, self._timeout)
            with understood(url):
                definitions = answer["metadata"]["signature_def"]["signature_def"]
                known = {name: _signature(definition) for name, definition in definitions.items()}
            self._signatures[version, label] = known
        return choose_signature(known, signature_name)

    def predict(
        self,
        inputs: Mapping[str, Any],
        signature_name: str = "",
        version: int | None = None,
        label: str | None = None,
    ) -> dict[str, np.ndarray]:
        """See ModelClient."""
        signature = self.signature(signature_name, version, label)
        arrays = input_arrays(inputs, signature)
        body = {"inputs": {alias: json_array(array) for alias, array in arrays.items()}}
        answer = self._infer("predict", body, signature_name, version, label)
        with understood(self._model_url):
            outputs = answer["outputs"]
            if len(signature.outputs) == 1:
                outputs = dict.fromkeys(signature.outputs, outputs)
            specs = signature.outputs.items()
            return {alias: _array(outputs[alias], spec) for alias, spec in specs}

    def classify(
        self,
        examples: Sequence[Example],
        signature_name: str = "",
        version: int | None = None,
        label: str | None = None,
    ) -> list[list[ScoredLabel]]:
        """See ModelClient."""
        body = {
            "examples": [
                {name: json_value(value) for name, value in example.items()} for example in examples
            ]
        }
        answer = self._infer("classify", body, signature_name, version, label)
        with understood(self._model_url):
            results = answer["results"]
            return [
                [ScoredLabel(str(name), float(score)) for name, score in classes]
                for classes in results
            ]

    def close(self) -> None:
        """See ModelClient."""
        self._transport.close()

    def _status(self, version: int | None, retries: Retries, timeout: float) -> list[VersionStatus]:
        url = self._url(version, None)
        return parse_statuses(url, self._request("GET", url, None, retries, timeout))

    def _url(self, version: int | None, label: str | None) -> str:
        check_selection(version, label)
        if version is not None:
            return f"{self._model_url}/versions/{version}"
        return f"{self._model_url}/labels/{quote(label, safe='')}" if label else self._model_url

    def _infer(
        self,
        verb: str,
        body: dict[str, Any],
        signature_name: str,
        version: int | None,
        label: str | None,
    ) -> Any:
        if signature_name:
            body = body | {"signature_name": signature_name}
        try:
            content = json.dumps(body).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidRequestError(
                Code.INVALID_ARGUMENT, f"the request cannot be written as JSON: {error}"
            ) from error
        url = f"{self._url(version, label)}:{verb}"
        return self._request("POST", url, content, self._retries, self._timeout)

    def _request(
        self, method: str, url: str, body: bytes | None, retries: Retries, timeout: float
    ) -> Any:
        return retries.run(
            lambda seconds: self._transport.request(method, url, body, seconds), timeout
        )


def _signature(definition: Mapping[str, Any]) -> Signature:
    return Signature(
        inputs={alias: _spec(info) for alias, info in definition["inputs"].items()},
        outputs={alias: _spec(info) for alias, info in definition["outputs"].items()},
    )


def _spec(info: Mapping[str, Any]) -> TensorSpec:
    shape = info["tensor_shape"]
    sizes = None if shape["unknown_rank"] else [int(dim["size"]) for dim in shape["dim"]]
    return tensor_spec(info["dtype"], sizes)


def json_value(value: Any) -> Any:
    """Returns a value of an example as TensorFlow Serving's REST API takes it."""
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, list | tuple):
        return [json_value(element) for element in value]
    return value.item() if isinstance(value, np.generic) else value


def json_array(array: np.ndarray) -> Any:
    """Returns an array of an input as that API takes it."""
    return json_value(array.tolist()) if array.dtype == object else array.tolist()


def _array(value: Any, spec: TensorSpec) -> np.ndarray:
    if spec.dtype == "string":
        return string_array(_decoded(value))
    return np.asarray(value, dtype=spec.dtype)


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(element) for element in value]
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value
