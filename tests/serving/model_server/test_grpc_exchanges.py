"""Every recorded gRPC exchange, answered in-process, by the recording's rules of comparison."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pool, message_factory

from serving.model_server.errors import ServingError

EXCHANGES = [
    exchange
    for exchange in json.loads(
        (Path(__file__).parents[1] / "conformance" / "exchanges.json").read_text()
    )
    if exchange["protocol"] == "grpc"
]
MODEL_SERVICE_CALLS = ("GetModelStatus", "HandleReloadConfigRequest")


@pytest.fixture(scope="module")
def methods(core: Any) -> Any:
    from serving.model_server.grpc_services import Services

    return Services(core).methods()


def folded(text: str) -> str:
    """The part of an error text that counts: no debug dumps, white space as single blanks."""
    return " ".join(re.split("SignatureDef: |Signature was: ", text)[0].split())


def message(type_name: str, serialized: bytes) -> Any:
    descriptor = descriptor_pool.Default().FindMessageTypeByName(type_name)
    return message_factory.GetMessageClass(descriptor).FromString(serialized)


def comparable(response: Any) -> Any:
    """Equal for equal messages: a packed Any is opened, as map entries have no order."""
    from tensorflow_serving.apis import get_model_metadata_pb2

    if not isinstance(response, get_model_metadata_pb2.GetModelMetadataResponse):
        return response
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    return response.model_spec, dict(signatures.signature_def)


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange["id"])
def test_answers_as_recorded(methods: Any, exchange: dict[str, Any]) -> None:
    service = "ModelService" if exchange["rpc"] in MODEL_SERVICE_CALLS else "PredictionService"
    method = methods[f"/tensorflow.serving.{service}/{exchange['rpc']}"]
    request = method.parse(base64.b64decode(exchange["request_base64"]))
    if exchange["code"] != "OK":
        with pytest.raises(ServingError) as refusal:
            method.answer(request)
        assert refusal.value.code.name == exchange["code"]
        if "[[" in exchange["details"]:
            assert "[[" in refusal.value.message
        else:
            assert folded(refusal.value.message) == folded(exchange["details"])
        return
    recorded = message(exchange["response_type"], base64.b64decode(exchange["response_base64"]))
    assert comparable(method.answer(request)) == approximately(comparable(recorded))


class approximately:  # noqa: N801
    """Compares messages with floats to 1e-5 relative, all else exactly."""

    def __init__(self, expected: Any) -> None:
        self.expected = expected

    def __eq__(self, actual: object) -> bool:
        from google.protobuf import json_format

        if not hasattr(self.expected, "DESCRIPTOR"):
            return bool(actual == self.expected)
        return _close(json_format.MessageToDict(actual), json_format.MessageToDict(self.expected))

    def __repr__(self) -> str:
        return repr(self.expected)


def _close(actual: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        return actual.keys() == expected.keys() and all(
            _close(actual[key], expected[key]) for key in expected
        )
    if isinstance(expected, list):
        return len(actual) == len(expected) and all(map(_close, actual, expected))
    if isinstance(expected, float):
        return bool(actual == pytest.approx(expected, rel=1e-5))
    return bool(actual == expected)
