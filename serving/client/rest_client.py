"""A served model over REST. Imports no TensorFlow."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import requests

from serving.client.errors import ClientError, client_error
from serving.client.interface import Example, ScoredLabel, Signature, TensorSpec
from serving.client.retry import Retries
from serving.client.selection import check_selection, choose_signature
from serving.client.status import parse_statuses, wait_until_available
from serving.client.tensors import input_arrays, string_array, tensor_spec
from serving.status import Code, VersionStatus

_CODES = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    409: Code.ABORTED,
    429: Code.RESOURCE_EXHAUSTED,
    499: Code.CANCELLED,
    501: Code.UNIMPLEMENTED,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}


class RestClient:
    """Asks `model_name` at `url` (such as http://localhost:8501). A ModelClient.

    `timeout` is in seconds and for one attempt. Not for use by several threads at once.
    """

    def __init__(
        self, url: str, model_name: str, timeout: float = 30.0, retries: Retries | None = None
    ) -> None:
        self._model_url = f"{url.rstrip('/')}/v1/models/{quote(model_name, safe='')}"
        self._model_name = model_name
        self._timeout = timeout
        self._retries = retries or Retries()
        self._session = requests.Session()
        self._signatures: dict[tuple[int | None, str | None], dict[str, Signature]] = {}

    def status(self, version: int | None = None) -> list[VersionStatus]:
        """See ModelClient."""
        answer = self._retries.run(lambda: self._request("GET", self._path(version, None)))
        return parse_statuses(answer)

    def wait_until_available(
        self, version: int | None = None, timeout: float = 60.0
    ) -> VersionStatus:
        """See ModelClient."""
        return wait_until_available(lambda _: self.status(version), timeout, self._model_name)

    def signature(
        self, signature_name: str = "", version: int | None = None, label: str | None = None
    ) -> Signature:
        """See ModelClient. Remembered, so a model's versions should keep their signatures."""
        known = self._signatures.get((version, label))
        if known is None:
            path = f"{self._path(version, label)}/metadata"
            answer = self._retries.run(lambda: self._request("GET", path))
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
        body = {
            "inputs": {
                alias: _json_value(array.tolist()) if array.dtype == object else array.tolist()
                for alias, array in arrays.items()
            }
        }
        outputs = self._infer("predict", body, signature_name, version, label)["outputs"]
        if len(signature.outputs) == 1:
            outputs = dict.fromkeys(signature.outputs, outputs)
        return {alias: _array(outputs[alias], spec) for alias, spec in signature.outputs.items()}

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
                {name: _json_value(value) for name, value in example.items()}
                for example in examples
            ]
        }
        results = self._infer("classify", body, signature_name, version, label)["results"]
        return [[ScoredLabel(name, score) for name, score in classes] for classes in results]

    def close(self) -> None:
        """See ModelClient."""
        self._session.close()

    def _path(self, version: int | None, label: str | None) -> str:
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
        content = json.dumps(body).encode()
        path = f"{self._path(version, label)}:{verb}"
        return self._retries.run(lambda: self._request("POST", path, content))

    def _request(self, method: str, url: str, body: bytes | None = None) -> Any:
        headers = {"Content-Type": "application/json"}
        try:
            answer = self._session.request(
                method, url, data=body, headers=headers, timeout=self._timeout
            )
        except requests.Timeout as error:
            raise client_error(
                Code.DEADLINE_EXCEEDED, f"no answer from {url} within {self._timeout:g} s"
            ) from error
        except requests.ConnectionError as error:
            raise client_error(Code.UNAVAILABLE, f"cannot reach {url}: {error}") from error
        except requests.RequestException as error:
            raise client_error(Code.INVALID_ARGUMENT, f"{url}: {error}") from error
        if answer.status_code != 200:
            raise _answered_error(answer)
        return answer.json()


def _answered_error(answer: requests.Response) -> ClientError:
    code = _CODES.get(answer.status_code, Code.INTERNAL)
    try:
        message = str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        message = f"HTTP {answer.status_code} from {answer.url}"
    return client_error(code, message)


def _signature(definition: Mapping[str, Any]) -> Signature:
    return Signature(
        inputs={alias: _spec(info) for alias, info in definition["inputs"].items()},
        outputs={alias: _spec(info) for alias, info in definition["outputs"].items()},
    )


def _spec(info: Mapping[str, Any]) -> TensorSpec:
    shape = info["tensor_shape"]
    sizes = None if shape["unknown_rank"] else [int(dim["size"]) for dim in shape["dim"]]
    return tensor_spec(info["dtype"], sizes)


def _json_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, list | tuple):
        return [_json_value(element) for element in value]
    return value.item() if isinstance(value, np.generic) else value


def _array(value: Any, spec: TensorSpec) -> np.ndarray:
    if spec.dtype == "string":
        return string_array(_decoded(value))
    return np.asarray(value, dtype=spec.dtype)


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(element) for element in value]
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value
