"""Fuzzed gRPC payloads: no crash, no hang, no server's fault, and correct answers right after."""

import base64
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError

SEED = 20261121
# With the REST requests of test_model_server_rest_fuzz.py, a million.
FULL = int(os.environ.get("FUZZ_REQUESTS", "400000"))
CHECK_EVERY = 50
EXCHANGES = [
    exchange
    for exchange in json.loads(
        (Path(__file__).parents[1] / "serving" / "conformance" / "exchanges.json").read_text()
    )
    if exchange["protocol"] == "grpc"
]
CLIENTS_MISTAKES = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNIMPLEMENTED,
}
SIZES = (0, 1, 2, 3, 28, -1, -(2**63), 2**31, 2**40, 2**63 - 1)
TEXTS = ("", "x", "serving_default", "nope", "half_plus", "__saved_model_init_op", "\x00", "é" * 99)

Mutation = Callable[[random.Random, Any], bytes]


def bytes_at_random(source: random.Random, request: Any) -> bytes:
    return source.randbytes(source.randrange(64))


def truncated(source: random.Random, request: Any) -> bytes:
    serialized: bytes = request.SerializeToString()
    return serialized[: source.randrange(len(serialized) + 1)]


def flipped(source: random.Random, request: Any) -> bytes:
    serialized = bytearray(request.SerializeToString())
    for _ in range(source.choice((1, 1, 2, 8))):
        if serialized:
            serialized[source.randrange(len(serialized))] ^= 1 << source.randrange(8)
    return bytes(serialized)


def other_tensors(source: random.Random, request: Any) -> bytes:
    """Other dtypes, shapes and numbers of values than the signature's."""
    for alias in list(request.inputs) or ["x"]:
        tensor = request.inputs[source.choice((alias, alias, alias, "z"))]
        change = source.randrange(5)
        if change == 0:
            tensor.dtype = source.choice((0, 1, 2, 3, 7, 8, 9, 10, 14, 20, 21, 101, 9999))
        elif change == 1:
            tensor.tensor_shape.dim.add(size=source.choice(SIZES))
        elif change == 2:
            del tensor.tensor_shape.dim[:]
            for _ in range(source.choice((0, 1, 2, 300))):
                tensor.tensor_shape.dim.add(size=source.choice(SIZES))
        elif change == 3:
            tensor.tensor_content = source.randbytes(source.randrange(40))
        else:
            tensor.string_val.append(source.randbytes(20))
            tensor.float_val.extend([float("nan"), 1e38])
    return bytes(request.SerializeToString())


def other_names(source: random.Random, request: Any) -> bytes:
    spec = request.model_spec
    change = source.randrange(4)
    if change == 0:
        spec.name = source.choice(TEXTS)
    elif change == 1:
        spec.signature_name = source.choice(TEXTS)
    elif change == 2:
        spec.version.value = source.choice(SIZES)
    else:
        spec.version_label = source.choice(TEXTS)
    if hasattr(request, "output_filter"):
        request.output_filter.append(source.choice(TEXTS))
    return bytes(request.SerializeToString())


def corrupt_examples(source: random.Random, request: Any) -> bytes:
    """Features of other kinds, and images that are cut off or changed."""
    for example in request.input.example_list.examples:
        for feature in example.features.feature.values():
            change = source.randrange(4)
            if change == 0:
                feature.int64_list.value.append(source.choice(SIZES))
            elif change == 1:
                feature.float_list.value.extend([1.0] * source.randrange(3))
            elif change == 2:
                feature.Clear()
            else:
                image = bytearray(b"".join(feature.bytes_list.value) or b"\x89PNG\r\n\x1a\n")
                image[source.randrange(len(image))] ^= 0xFF
                cut = bytes(image[: source.randrange(len(image)) + 1])
                feature.bytes_list.value[:] = [cut]
    return bytes(request.SerializeToString())


# The field that a request must have for a mutation to make sense.
MUTATIONS: dict[Mutation, str] = {
    bytes_at_random: "",
    truncated: "",
    flipped: "",
    other_tensors: "inputs",
    other_names: "model_spec",
    corrupt_examples: "input",
}


def request_class(name: str) -> Any:
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))


def has_field(exchange: dict[str, Any], name: str) -> bool:
    return name in request_class(exchange["request_type"]).DESCRIPTOR.fields_by_name


def parses(message_class: Any, serialized: bytes) -> bool:
    try:
        message_class.FromString(serialized)
    except DecodeError:
        return False
    return True


def method_of(exchange: dict[str, Any]) -> str:
    service = "ModelService" if exchange["rpc"] == "GetModelStatus" else "PredictionService"
    return f"/tensorflow.serving.{service}/{exchange['rpc']}"


def fuzz(server: Any, count: int, seed: int = SEED) -> dict[str, int]:
    """Sends `count` mutated requests; returns how often each status code was answered."""
    import tensorflow_serving.apis.model_service_pb2
    import tensorflow_serving.apis.prediction_service_pb2  # noqa: F401

    source = random.Random(seed)
    [golden] = [item for item in EXCHANGES if item["id"] == "grpc_predict_raw"]
    codes: dict[str, int] = {}
    with grpc.insecure_channel(server.address) as channel:
        for number in range(count):
            mutation, needed = source.choice(list(MUTATIONS.items()))
            exchange = source.choice(
                [item for item in EXCHANGES if not needed or has_field(item, needed)]
            )
            message_class = request_class(exchange["request_type"])
            request = message_class.FromString(base64.b64decode(exchange["request_base64"]))
            serialized = mutation(source, request)
            code = status_of(channel, method_of(exchange), serialized)
            codes[code.name] = codes.get(code.name, 0) + 1
            expected = {grpc.StatusCode.OK, *CLIENTS_MISTAKES}
            if not parses(message_class, serialized):
                expected = {grpc.StatusCode.INTERNAL}
            assert code in expected, (
                f"request {number} of seed {seed}, {exchange['rpc']}, {mutation.__name__}: "
                f"{code.name} for {base64.b64encode(serialized)!r}"
            )
            if number % CHECK_EVERY == 0:
                answer = channel.unary_unary(method_of(golden))(
                    base64.b64decode(golden["request_base64"]), timeout=60
                )
                assert answer == base64.b64decode(golden["response_base64"])
    assert server.process.poll() is None
    return codes


def status_of(channel: grpc.Channel, method: str, request: bytes) -> grpc.StatusCode:
    try:
        channel.unary_unary(method)(request, timeout=60)
    except grpc.RpcError as error:
        code = error.code()
        assert isinstance(code, grpc.StatusCode)
        return code
    return grpc.StatusCode.OK


@pytest.mark.integration
def test_five_hundred_fuzzed_requests_do_no_harm(conformance_server: Any) -> None:
    codes = fuzz(conformance_server, 500)
    assert {"OK", "INVALID_ARGUMENT", "INTERNAL"} <= codes.keys()


@pytest.mark.soak
def test_a_long_run_of_fuzzed_requests_does_no_harm(
    conformance_server: Any, record_result: Any
) -> None:
    codes = fuzz(conformance_server, FULL)
    result = {"seed": SEED, "requests": FULL, "answers by code": dict(sorted(codes.items()))}
    result["crashes, hangs, wrong answers afterwards"] = 0
    record_result("model_server_grpc_fuzz", result)
