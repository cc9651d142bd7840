"""The gRPC API over the wire: the recorded exchanges, public stubs, and the standard services."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests

pytestmark = pytest.mark.integration

EXCHANGES = [
    exchange
    for exchange in json.loads(
        (Path(__file__).parents[1] / "serving" / "conformance" / "exchanges.json").read_text()
    )
    if exchange["protocol"] == "grpc"
]
MODEL_SERVICE_CALLS = ("GetModelStatus", "HandleReloadConfigRequest")


@pytest.fixture(scope="module")
def channel(conformance_server: Any) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(conformance_server.address) as channel:
        yield channel


def call(channel: grpc.Channel, method: str, request: bytes, **options: Any) -> bytes:
    answer: bytes = channel.unary_unary(f"/tensorflow.serving.{method}")(
        request, timeout=60, **options
    )
    return answer


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange["id"])
def test_codes_and_sizes_are_as_recorded(channel: grpc.Channel, exchange: dict[str, Any]) -> None:
    service = "ModelService" if exchange["rpc"] in MODEL_SERVICE_CALLS else "PredictionService"
    request = base64.b64decode(exchange["request_base64"])
    code, answer = "OK", b""
    try:
        answer = call(channel, f"{service}/{exchange['rpc']}", request)
    except grpc.RpcError as error:
        code = error.code().name
    assert code == exchange["code"]
    if code == "OK":
        assert len(answer) == len(base64.b64decode(exchange["response_base64"]))


def test_tensorflow_servings_public_stubs_work(channel: grpc.Channel) -> None:
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "half_plus"
    request.inputs["x"].dtype = 1
    request.inputs["x"].tensor_shape.dim.add(size=2)
    request.inputs["x"].float_val.extend([1, 2])
    answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request)
    assert list(answer.outputs["y"].float_val) == [3.5, 4.0]


def test_bytes_that_are_no_message_are_refused_as_grpc_does(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        call(channel, "PredictionService/Predict", b"\xff\xff\xff")
    assert (refusal.value.code(), refusal.value.details()) == (grpc.StatusCode.INTERNAL, "")


def test_an_unknown_method_is_unimplemented(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        call(channel, "PredictionService/Explain", b"")
    assert (refusal.value.code(), refusal.value.details()) == (grpc.StatusCode.UNIMPLEMENTED, "")


def test_reflection_lists_the_services(channel: grpc.Channel) -> None:
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    [answer] = stub.ServerReflectionInfo(iter([asked]))
    names = {service.name for service in answer.list_services_response.service}
    assert {"tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"} <= names


def test_a_request_of_many_megabytes_is_answered(conformance_server: Any) -> None:
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "half_plus"
    tensor = request.inputs["x"]
    tensor.dtype = 1
    count = 4 * 2**20
    tensor.tensor_shape.dim.add(size=count)
    tensor.tensor_content = bytes(4 * count)
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(conformance_server.address, options=options) as channel:
        answer = call(channel, "PredictionService/Predict", request.SerializeToString())
    assert len(answer) > 4 * count


def test_metrics_count_grpc_requests(channel: grpc.Channel, conformance_server: Any) -> None:
    def counted() -> int:
        page = requests.get(f"{conformance_server.url}/monitoring/prometheus/metrics", timeout=60)
        labels = 'model_name="fashion",API="Classify",entrypoint="GRPC"'
        start = f":tensorflow:serving:request_latency_count{{{labels}}} "
        lines = [line for line in page.text.splitlines() if line.startswith(start)]
        return int(lines[0].removeprefix(start)) if lines else 0

    [exchange] = [item for item in EXCHANGES if item["id"] == "grpc_classify_fashion"]
    before = counted()
    for _ in range(3):
        request = base64.b64decode(exchange["request_base64"])
        call(channel, "PredictionService/Classify", request)
    assert counted() == before + 3


def test_a_reload_is_refused_whole_if_it_is_illegal(channel: grpc.Channel) -> None:
    from tensorflow_serving.apis import model_management_pb2

    request = model_management_pb2.ReloadConfigRequest()
    for _ in range(2):
        request.config.model_config_list.config.add(name="twice", base_path="/x")
    with pytest.raises(grpc.RpcError) as refusal:
        call(channel, "ModelService/HandleReloadConfigRequest", request.SerializeToString())
    assert refusal.value.details() == "Illegal to list model twice multiple times in config list"
