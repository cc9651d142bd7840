"""Coverage-guided fuzzing of what reads a client's bytes (with atheris, of the group `fuzz`).

    uv run --group fuzz python -m benchmarks.fuzz json --seconds 1200     (or: http, tensor)

Starts from the recorded requests, and keeps what it learns under `var/fuzz/<target>`. An input that
breaks a property ends the run and is written to `var/fuzz/<target>-find`: make a test of it.

- `json`: the quick reading of a body and the complete one agree, and fail only in known ways;
- `http`: requests come out the same however the bytes are cut, and the budget is given back;
- `tensor`: a TensorProto is read or refused, and what was read survives being written and read.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

REPOSITORY = Path(__file__).parents[1]
RECORDINGS = REPOSITORY / "tests" / "serving" / "conformance" / "exchanges.json"

Target = Callable[[bytes], None]

SIGNATURES = {
    "": {"x": "float"},
    "two": {"a": "float", "b": "int32"},
    "text": {"s": "string"},
    "flag": {"f": "bool"},
    "wide": {"d": "double", "u": "uint64"},
}


def json_target() -> Target:
    """Properties of the JSON readers; raises AssertionError for an input that breaks one."""
    from serving.model_server.errors import Code, ServingError, invalid_argument
    from serving.model_server.rest import json_examples, json_fast_path, json_predict

    def signature(name: str) -> dict[str, str]:
        if name not in SIGNATURES:
            raise invalid_argument("no such signature")
        return SIGNATURES[name]

    def outcome(read: Callable[[], Any]) -> Any:
        try:
            return read()
        except ServingError as error:
            if error.code not in (Code.INVALID_ARGUMENT, Code.UNIMPLEMENTED):
                raise
            return (error.code, error.message)

    def check(data: bytes) -> None:
        complete = outcome(lambda: json_predict.read_predict(data, signature))
        quick = outcome(lambda: json_fast_path.read_predict(data, signature))
        assert quick is None or same_predictions(quick, complete), (quick, complete)
        examples = outcome(lambda: json_examples.read_examples(data))
        quick_examples = json_fast_path.read_examples(data)
        assert quick_examples is None or quick_examples == examples, (quick_examples, examples)

    return check


def same_predictions(quick: Any, complete: Any) -> bool:
    """Whether two PredictBodies, or two errors, are equal; NaN equals NaN."""
    if isinstance(quick, tuple) or isinstance(complete, tuple):
        return bool(quick == complete)
    same_head = (quick.signature_name, quick.row_format, quick.inputs.keys()) == (
        complete.signature_name,
        complete.row_format,
        complete.inputs.keys(),
    )
    return same_head and all(
        array.dtype == complete.inputs[alias].dtype
        and array.shape == complete.inputs[alias].shape
        and repr(array.tolist()) == repr(complete.inputs[alias].tolist())
        for alias, array in quick.inputs.items()
    )


def http_target() -> Target:
    """Properties of the HTTP reader; the first byte of the data says into what it is cut."""
    from serving.model_server.rest.http_reader import RequestReader
    from serving.model_server.rest.limits import Budget, Limits

    limits = Limits(max_body_bytes=1 << 16, max_memory_bytes=1 << 20)

    def read(data: bytes, size: int) -> list[Any]:
        budget = Budget(limits.max_memory_bytes)
        reader = RequestReader(limits, budget)
        for start in range(0, len(data), size):
            if not reader.ended:
                reader.feed(data[start : start + size])
        read = [
            (item.request.method, item.request.target, item.request.headers, item.request.body)
            if item.refusal is None
            else item.refusal.status
            for item in reader.exchanges
        ]
        reader.end()
        assert budget.held == 0
        return read

    def check(data: bytes) -> None:
        if data:
            assert read(data[1:], 1 + data[0]) == read(data[1:], 1024)

    return check


def tensor_target() -> Target:
    """Properties of the TensorProto reader and writer."""
    from serving.model_server.errors import Code, ServingError
    from serving.model_server.tensor_proto import array_from_proto
    from serving.tensors import fill_proto

    def check(data: bytes) -> None:
        try:
            array = array_from_proto("x", tensor_pb2.TensorProto.FromString(data))
        except (DecodeError, ServingError) as error:
            if getattr(error, "code", Code.INVALID_ARGUMENT) != Code.INVALID_ARGUMENT:
                raise
            return
        # Dtypes that are read only to be refused by name have no kind of numpy's.
        if array.size > 1 << 16 or array.dtype.kind == "V":
            return
        written = tensor_pb2.TensorProto()
        fill_proto(written, array)
        again = array_from_proto("x", written)
        assert (again.dtype, again.shape) == (array.dtype, array.shape)
        # As text: Python's floats have one NaN only.
        assert repr(again.ravel().tolist()) == repr(array.ravel().tolist())

    return check


def seeds(target: str) -> Iterator[bytes]:
    """Inputs that the recorded requests are made of."""
    exchanges = json.loads(RECORDINGS.read_text())
    for exchange in exchanges:
        if target == "tensor" and exchange.get("rpc") == "Predict":
            request = predict_pb2.PredictRequest.FromString(
                base64.b64decode(exchange["request_base64"])
            )
            yield from (tensor.SerializeToString() for tensor in request.inputs.values())
        elif exchange["protocol"] == "rest" and exchange["body"]:
            body = exchange["body"].encode()
            head = f"POST {exchange['path']} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
            if target == "json":
                yield body
            elif target == "http":
                yield b"\x07" + head.encode() + body


TARGETS: dict[str, Callable[[], Target]] = {
    "json": json_target,
    "http": http_target,
    "tensor": tensor_target,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=1200)
    options = parser.parse_args()
    import atheris

    with atheris.instrument_imports(include=["serving.model_server"]):
        check = TARGETS[options.target]()
    corpus = REPOSITORY / "var" / "fuzz" / options.target
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(options.target)):
        (corpus / f"seed-{number}").write_bytes(seed)
    limits = [f"-max_total_time={options.seconds}", "-max_len=4096", "-timeout=20"]
    limits += ["-rss_limit_mb=4096", f"-artifact_prefix={corpus}-"]

    def keep_finds(data: bytes) -> None:
        try:
            check(data)
        except Exception:
            corpus.with_name(f"{options.target}-find").write_bytes(data)
            raise

    atheris.Setup([sys.argv[0], *limits, str(corpus)], keep_finds)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
