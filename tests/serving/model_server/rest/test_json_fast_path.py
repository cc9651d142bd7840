"""The quick reader of request bodies never differs from the complete one."""

import json
import random
import subprocess
import sys
from typing import Any

import pytest

from serving.model_server.errors import ServingError, invalid_argument
from serving.model_server.rest import json_examples, json_fast_path, json_predict

SIGNATURES = {
    "": {"x": "float"},
    "two": {"a": "float", "b": "int32"},
    "text": {"s": "string"},
    "mixed": {"s": "string", "d": "double", "l": "int64"},
    "flags": {"f": "bool"},
    "small": {"u": "uint8", "w": "uint32", "v": "uint64"},
    "other": {"h": "half"},
    "none": {},
}


def lookup(name: str) -> dict[str, str]:
    if name not in SIGNATURES:
        raise invalid_argument(f"no signature {name}")
    return SIGNATURES[name]


def outcome(read: Any, *arguments: Any) -> Any:
    """What a reader makes of a body, in a form that compares."""
    try:
        request = read(*arguments)
    except ServingError as error:
        return str(error)
    if request is None:
        return None
    if isinstance(request, json_examples.ExamplesBody):
        return request
    arrays = {
        alias: (array.dtype, array.shape, array.tobytes() if array.dtype != object else list(array))
        for alias, array in request.inputs.items()
    }
    return request.signature_name, request.row_format, arrays


class Generator:
    """Random request bodies, most of them nearly right."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def number(self) -> Any:
        return self.random.choice(
            [
                *(0, 1, -1, 255, 256, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63)),
                *(0.5, -0.0, 1e39, 1e300, float("nan"), float("nan"), float("inf")),
                *(self.random.random(), self.random.randrange(100)),
            ]
        )

    def text(self) -> Any:
        plain = self.random.choice(["", "a", "é", "a:b", 'q"q', "1", "nul\0nul", "true"])
        encoded = self.random.choice(["YWJj", "", "YQ==", "YQ", "Y", "!", "YW Jj", "MGU="])
        return self.random.choice([plain, {"b64": encoded}, {"b64": encoded}])

    def leaf(self, dtype: str) -> Any:
        if self.random.random() < 0.05:
            return self.random.choice([None, True, "s", {}, [], {"b64": "YQ=="}, {"b64": 1}, 1.5])
        if dtype == "string":
            return self.text()
        if dtype == "bool":
            return self.random.random() < 0.5
        if self.random.random() < 0.15:
            return self.number()
        return self.random.randrange(100) if "int" in dtype else self.random.random()

    def value(self, dtype: str, depth: int) -> Any:
        if not depth:
            return self.leaf(dtype)
        size = 2 if self.random.random() < 0.9 else self.random.randrange(4)
        return [self.value(dtype, depth - 1) for _ in range(size)]

    def named(self, dtypes: dict[str, str], depth: int) -> dict[str, Any]:
        named = {alias: self.value(dtype, depth) for alias, dtype in dtypes.items()}
        if named and self.random.random() < 0.05:
            named.pop(self.random.choice(list(named)))
        if self.random.random() < 0.05:
            named["surplus"] = 1
        return named

    def predict(self) -> bytes:
        signature = self.random.choice(list(SIGNATURES))
        dtypes = SIGNATURES[signature]
        depth = self.random.choice([0, 0, 1, 2])
        dtype = next(iter(dtypes.values()), "float")
        if self.random.random() < 0.5:
            count = self.random.choice([1, 2, 3, 0])
            is_named = len(dtypes) > 1 or self.random.random() < 0.3
            key = "instances"
            content: Any = [
                self.named(dtypes, depth) if is_named else self.value(dtype, depth)
                for _ in range(count)
            ]
        else:
            key = "inputs"
            is_named = len(dtypes) > 1 or self.random.random() < 0.3
            content = self.named(dtypes, depth + 1) if is_named else self.value(dtype, depth + 1)
        body = {key: content}
        if signature or self.random.random() < 0.1:
            body["signature_name"] = signature
        return self.disturbed(body)

    def examples(self) -> bytes:
        def feature() -> Any:
            kind = self.random.choice(["string", "float", "int64", "bool"])
            return self.value(kind, self.random.choice([0, 0, 1]))

        body: dict[str, Any] = {
            "examples": [
                {name: feature() for name in self.random.sample(["x", "y", "image"], 2)}
                for _ in range(self.random.choice([1, 2, 0]))
            ]
        }
        if self.random.random() < 0.2:
            body["context"] = {"x": feature()}
        if self.random.random() < 0.3:
            body["signature_name"] = self.random.choice(["two", "", 5])
        return self.disturbed(body)

    def disturbed(self, body: dict[str, Any]) -> bytes:
        if self.random.random() < 0.05:
            body[self.random.choice(["inputs", "instances", "more", "signature_name"])] = [1]
        text = json.dumps(body, ensure_ascii=self.random.random() < 0.5)
        if self.random.random() < 0.05:
            text = text.replace('"x"', '"x": 1, "x"', 1)
        if self.random.random() < 0.05:
            text += self.random.choice([" ", "x", "{}"])
        raw = text.encode()
        if self.random.random() < 0.1:
            at = self.random.randrange(len(raw))
            raw = (
                raw[:at]
                + self.random.choice([b"", b"0e9", b"\xff", b'"', b"[", b"1e400", b"NaN"])
                + raw[at + 1 :]
            )
        return raw


@pytest.mark.parametrize("seed", range(4))
def test_predict_bodies_read_quickly_are_read_as_by_the_complete_reader(seed: int) -> None:
    generator = Generator(seed)
    read = 0
    for _ in range(2500):
        body = generator.predict()
        quickly = outcome(json_fast_path.read_predict, body, lookup)
        if quickly is not None:
            read += 1
            assert quickly == outcome(json_predict.read_predict, body, lookup), body
    assert read > 400


@pytest.mark.parametrize("seed", range(2))
def test_example_bodies_read_quickly_are_read_as_by_the_complete_reader(seed: int) -> None:
    generator = Generator(seed)
    read = 0
    for _ in range(2500):
        body = generator.examples()
        quickly = outcome(json_fast_path.read_examples, body)
        if quickly is not None:
            read += 1
            assert sorted_features(quickly) == sorted_features(
                outcome(json_examples.read_examples, body)
            ), body
    assert read > 200


def sorted_features(request: Any) -> Any:
    from tensorflow.core.example import example_pb2

    if not isinstance(request, json_examples.ExamplesBody):
        return request
    return request.signature_name, [
        example_pb2.Example.FromString(example).SerializeToString(deterministic=True)
        for example in request.examples
    ]


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [1.0, 2, 5]}',
        b'{"instances": [[1.0, 2.0], [3.0, 4.0]]}',
        b'{"inputs": [1.0]}',
        b'{"inputs": {"x": [1.0]}}',
        b'{"instances": [NaN, -Infinity, 1e39]}',
        b'{"instances": [{"x": 1.0}, {"x": 2.0}]}',
        b'{"signature_name": "text", "instances": [{"b64": "YWJj"}, "plain"]}',
        b'{"signature_name": "text", "inputs": {"s": [{"b64": "YWJj"}]}}',
    ],
)
def test_frequent_predict_bodies_are_read_quickly(body: bytes) -> None:
    assert json_fast_path.read_predict(body, lookup) is not None


def test_frequent_example_bodies_are_read_quickly() -> None:
    body = b'{"signature_name": "c", "examples": [{"image": {"b64": "YWJj"}, "x": 1.5, "n": [1]}]}'
    assert json_fast_path.read_examples(body) is not None


def test_a_long_string_among_numbers_costs_no_memory_for_each_number() -> None:
    body = json.dumps({"instances": [1.0] * 50_000 + ["x" * 50_000]}).encode()
    assert json_fast_path.read_predict(body, lookup) is None


def test_float_overflow_becomes_infinity_without_a_warning() -> None:
    # pytest has filters of warnings of its own.
    code = """
from serving.model_server.rest.json_fast_path import read_predict
print(*read_predict(b'{"instances": [1e39, -1e39]}', lambda name: {"x": "float"}).inputs["x"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, "RuntimeWarning" in done.stderr) == ("inf -inf\n", False)
