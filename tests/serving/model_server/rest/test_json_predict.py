"""Predict bodies to arrays: TensorFlow Serving's rules and error texts."""

import json
import time
from typing import Any

import numpy as np
import pytest

from serving.model_server import deadline
from serving.model_server.errors import Code, ServingError, invalid_argument
from serving.model_server.rest.json_predict import PredictBody, read_predict

DTYPES = {
    "": {"x": "float"},
    "two": {"a": "float", "b": "int32"},
    "text": {"s": "string"},
    "flag": {"f": "bool"},
    "none": {},
    **{dtype: {"v": dtype} for dtype in ("double", "int64", "int8", "uint8", "uint32", "uint64")},
    **{dtype: {"v": dtype} for dtype in ("half", "complex64", "uint16")},
}


def lookup(name: str) -> dict[str, str]:
    if name not in DTYPES:
        raise invalid_argument("no such signature")
    return DTYPES[name]


def read(body: Any, signature: str = "") -> PredictBody:
    if not isinstance(body, bytes):
        body = json.dumps(body | ({"signature_name": signature} if signature else {})).encode()
    return read_predict(body, lookup)


def refusal(body: Any, signature: str = "") -> str:
    with pytest.raises(ServingError) as refused:
        read(body, signature)
    assert refused.value.code is Code.INVALID_ARGUMENT
    return refused.value.message


def in_instances(error: str, number: int = 0, key: str = "") -> str:
    where = f"{number} key: {key}" if key else f"{number}"
    return (
        f"Failed to process element: {where} of 'instances' list. Error: INVALID_ARGUMENT: {error}"
    )


@pytest.mark.parametrize(
    ("instances", "shape"),
    [
        ([1.0, 2, 5], (3,)),
        ([[1, 2], [3, 4]], (2, 2)),
        ([[[1]], [[2]]], (2, 1, 1)),
        ([[]], (1, 0)),
        ([{"x": 1.0}, {"x": 2}], (2,)),
        ([{"x": [1.0]}, {"x": [2]}], (2, 1)),
    ],
)
def test_row_format_batches_instances_along_the_first_dimension(
    instances: Any, shape: tuple[int, ...]
) -> None:
    request = read({"instances": instances})
    assert request.row_format
    assert request.inputs["x"].shape == shape
    assert request.inputs["x"].dtype == np.float32


@pytest.mark.parametrize(
    ("inputs", "shape"),
    [(3.0, ()), ([], (0,)), ([1, 2], (2,)), ([[1], [2]], (2, 1)), ({"x": [1.0]}, (1,))],
)
def test_column_format_takes_tensors_as_they_are(inputs: Any, shape: tuple[int, ...]) -> None:
    request = read({"inputs": inputs})
    assert not request.row_format
    assert request.inputs["x"].shape == shape


def test_several_inputs_are_named() -> None:
    row = read({"instances": [{"a": 1.5, "b": 2}, {"b": 4, "a": 3}]}, "two").inputs
    column = read({"inputs": {"a": [1.5, 3], "b": [2, 4], "unknown": 1}}, "two").inputs
    for alias in ("a", "b"):
        np.testing.assert_array_equal(row[alias], column[alias])
        assert row[alias].dtype == column[alias].dtype
    assert column["b"].dtype == np.int32


@pytest.mark.parametrize(
    ("dtype", "sent", "received"),
    [
        ("uint8", -1, 255),
        ("uint8", 256, 0),
        ("int8", 200, -56),
        ("int64", 2**53 + 1, 2**53 + 1),
        ("uint64", 2**64 - 1, 2**64 - 1),
        ("uint32", 2**32 - 1, 2**32 - 1),
        ("double", 2**64 - 1, 2.0**64),
        ("double", 0.1, 0.1),
    ],
)
def test_numbers_become_the_inputs_dtype(dtype: str, sent: Any, received: Any) -> None:
    array = read({"inputs": [sent]}, dtype).inputs["v"]
    assert array.dtype == dtype.replace("double", "float64")
    assert array.tolist() == [received]


def test_floats_round_through_double_and_overflow_to_infinity() -> None:
    body = b'{"inputs": [1e39, -1e39, NaN, Infinity, 16777217, 9007199791611905]}'
    expected = np.array([1e39, -1e39, np.nan, np.inf, 16777216, 9007199791611905.0])
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(read(body).inputs["x"], expected.astype(np.float32))


def test_strings_are_sent_plain_or_in_base64() -> None:
    sent = {"instances": ["é", {"b64": "YWJj"}, {"s": {"b64": ""}}][:2]}
    assert read(sent, "text").inputs["s"].tolist() == ["é".encode(), b"abc"]
    assert read({"inputs": {"b64": "YWJj"}}, "text").inputs["s"].tolist() == b"abc"
    named = {"instances": [{"s": {"b64": "YWJj"}}, {"s": "d"}]}
    assert read(named, "text").inputs["s"].tolist() == [b"abc", b"d"]


def test_strings_need_not_be_utf_8() -> None:
    body = b'{"signature_name": "text", "instances": ["\xff\\u0000"]}'
    assert read(body).inputs["s"].tolist() == [b"\xff\0"]


def test_of_names_sent_twice_the_first_counts() -> None:
    body = b'{"instances": [1.0], "instances": [2.0]}'
    assert read(body).inputs["x"].tolist() == [1.0]
    assert read(b'{"instances": [{"x": 1.0, "x": 2.0}]}').inputs["x"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{}", "Missing 'inputs' or 'instances' key"),
        (
            {"instances": [1.0], "inputs": [1.0]},
            'JSON Value: {\n    "instances": [1.0],\n    "inputs": [1.0]\n} '
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
        ),
        (
            {"instances": []},
            "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array",
        ),
        (
            {"instances": {}},
            "JSON Value: {\n    \"instances\": {}\n} Expecting 'instances' to be an list/array",
        ),
        (
            {"signature_name": 5, "instances": [1]},
            'JSON Value: {\n    "signature_name": 5,\n    "instances": [1]\n} '
            "not formatted correctly. 'signature_name' key must be a string value.",
        ),
        (
            {"instances": ["a"]},
            in_instances('JSON Value: "a" Type: String is not of expected type: float'),
        ),
        (
            {"instances": [1.0, None]},
            in_instances("JSON Value: null Type: Null is not of expected type: float", 1),
        ),
        (
            {"instances": [True]},
            in_instances("JSON Value: true Type: True is not of expected type: float"),
        ),
        (
            {"instances": [{"b64": "YQ=="}]},
            in_instances(
                'JSON Value: {\n    "b64": "YQ=="\n} Type: Object is not of expected type: float'
            ),
        ),
        ({"instances": [[1, 2], [3]]}, in_instances("Expecting tensor size: 2 but got: 1", 1)),
        (
            {"instances": [[1, 2], [[3, 4]]]},
            in_instances("Expecting shape [2] but got: [1,2]", 1),
        ),
        (
            {"instances": [[1, [2]]]},
            in_instances("Encountered list at unexpected level: 1 expected < 1"),
        ),
        (
            {"instances": [[[1], 2]]},
            in_instances(
                "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"
            ),
        ),
        (
            {"instances": [[[1, 2], [3]]]},
            in_instances("Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ),
        (
            {"instances": [{"x": 1.0}, 2.0]},
            "Expecting object but got list at item 1 of input list",
        ),
        (
            {"instances": [1.0, {"x": 2.0}]},
            "Expecting value/list but got object at item 1 of input list",
        ),
        (
            {"instances": [{"x": 1.0, "z": 2.0}]},
            in_instances("JSON object: does not have named input: z", key="z"),
        ),
        (
            {"instances": [{}]},
            "Failed to process element: 0 of 'instances' list. JSON object: {} "
            "keys must be equal to: x",
        ),
        ({"inputs": {"y": [1]}}, "Missing named input: x in 'inputs' object."),
        ({"inputs": None}, "JSON Value: null Type: Null is not of expected type: float"),
    ],
)
def test_wrong_bodies_are_refused_with_tensorflow_servings_text(body: Any, error: str) -> None:
    assert refusal(body) == error


@pytest.mark.parametrize(
    ("signature", "body", "error"),
    [
        (
            "two",
            {"instances": [[1, 2]]},
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map",
        ),
        (
            "two",
            {"inputs": [1]},
            "inputs is a plain value/list, but expecting an object as multiple input tensors "
            "required as per tensorinfo_map",
        ),
        (
            "two",
            {"instances": [{"a": 1}]},
            "Failed to process element: 0 of 'instances' list. JSON object: {\n    \"a\": 1\n} "
            "keys must be equal to: a,b",
        ),
        (
            "two",
            {"inputs": {"a": [1], "b": [1.5]}},
            "JSON Value: 1.5 Type: Number is not of expected type: int32",
        ),
        ("text", {"instances": [{"b64": "!"}]}, in_instances("Unable to base64 decode")),
        (
            "text",
            {"inputs": [{"b64": "YQ==", "z": 1}]},
            'JSON Value: {\n    "b64": "YQ==",\n    "z": 1\n} '
            "not formatted correctly for base64 data",
        ),
        ("text", {"inputs": [5]}, "JSON Value: 5 Type: Number is not of expected type: string"),
        ("flag", {"inputs": [1]}, "JSON Value: 1 Type: Number is not of expected type: bool"),
        ("none", {"inputs": [1]}, "Failed to get input map for signature: none"),
        (
            "uint32",
            {"inputs": [-1]},
            "JSON Value: -1 Type: Number is not of expected type: uint32",
        ),
        (
            "int64",
            {"inputs": [2**63]},
            "JSON Value: 9223372036854775808 Type: Number is not of expected type: int64",
        ),
        (
            "uint8",
            {"inputs": [2**31]},
            "JSON Value: 2147483648 Type: Number is not of expected type: uint8",
        ),
        ("unknown", {"inputs": [1]}, "no such signature"),
    ],
)
def test_wrong_inputs_of_a_signature_are_refused(signature: str, body: Any, error: str) -> None:
    assert refusal(body, signature) == error


@pytest.mark.parametrize("dtype", ["half", "complex64", "uint16"])
def test_dtypes_without_a_json_form_are_unimplemented(dtype: str) -> None:
    with pytest.raises(ServingError) as refused:
        read({"inputs": [1]}, dtype)
    assert refused.value.code is Code.UNIMPLEMENTED
    assert refused.value.message == f"Conversion of JSON Value: 1 to type: {dtype}"


def test_a_parse_error_comes_before_the_look_up_of_the_signature() -> None:
    assert refusal(b'{"signature_name": "unknown", ').startswith("JSON Parse error: ")


@pytest.mark.parametrize("depth", [65, 200, 255, 100_000])
@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_nesting_beyond_any_tensor_is_refused_where_tensorflow_serving_makes_the_tensor(
    key: str, depth: int
) -> None:
    body = f'{{"{key}": {"[" * depth}1{"]" * depth}}}'.encode()
    assert refusal(body) == "tensor parsing error: x"


def test_nesting_as_deep_as_numpy_goes_is_read() -> None:
    body = b'{"instances": ' + b"[" * 64 + b"1" + b"]" * 64 + b"}"
    assert read(body).inputs["x"].shape == (1,) * 64


def test_errors_deep_inside_come_before_the_number_of_dimensions() -> None:
    body = b'{"instances": ' + b"[" * 200 + b'"a"' + b"]" * 200 + b"}"
    assert refusal(body).endswith("is not of expected type: float")


def test_reading_ends_at_its_deadline() -> None:
    with deadline.at(time.monotonic() - 1), pytest.raises(ServingError) as refused:
        read({"instances": [1, 2]})
    assert refused.value.code == Code.DEADLINE_EXCEEDED
