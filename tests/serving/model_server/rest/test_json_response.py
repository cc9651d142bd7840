"""Response bodies, byte for byte as TensorFlow Serving writes them."""

import numpy as np
import pytest

from serving.model_server.errors import Code, ServingError
from serving.model_server.rest.json_response import (
    classification_json,
    error_json,
    predict_json,
    regression_json,
)
from serving.model_server.rest.json_text import double_texts, float_texts, quote


def strings(*values: bytes) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.0, "3.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (0.5, "0.5"),
        (9_000_000.0, "9e+06"),
        (999_999.0, "999999.0"),
        (1_234_567.0, "1234567.0"),
        (0.00003, "3e-05"),
        (0.268367738, "0.268367738"),
        (0.065063104, "0.065063104"),
        (1e10, "1e+10"),
        (3.4028235e38, "3.40282347e+38"),
        (1e-45, "1.4013e-45"),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
    ],
)
def test_floats_are_short_and_read_back(value: float, text: str) -> None:
    assert float_texts([float(np.float32(value))]) == [text]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1 / 3, "0.33333333333333331"),
        (0.1, "0.1"),
        (0.1 / 3, "0.033333333333333333"),
        (1e300, "1e+300"),
        (1e300 / 3, "3.3333333333333335e+299"),
        (2.0, "2.0"),
        (float("nan"), "NaN"),
    ],
)
def test_doubles_are_short_and_read_back(value: float, text: str) -> None:
    assert double_texts([value]) == [text]


def test_every_float_reads_back_as_itself() -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, 20_000, dtype=np.uint32)
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]
    texts = float_texts(values.tolist())
    np.testing.assert_array_equal(np.array(texts, dtype=np.float64).astype(np.float32), values)


def test_strings_are_escaped_as_rapidjson_does() -> None:
    text = '"\\/\b\f\n\r\t\x01\x1f\x7fé'.encode()
    assert quote(text + b"\xff") == (rb'"\"\\/\b\f\n\r\t\u0001\u001F' + "\x7fé".encode() + b'\xff"')


def test_row_format_of_a_single_output_is_bare() -> None:
    rows = np.array([3.5, 4.0, 5.5], np.float32)
    assert predict_json({"y": rows}, True) == b'{\n    "predictions": [3.5, 4.0, 5.5\n    ]\n}'
    matrix = np.array([[3.5, 4.0]], np.float32)
    assert predict_json({"y": matrix}, True) == b'{\n    "predictions": [[3.5, 4.0]\n    ]\n}'


def test_row_format_of_several_outputs_is_objects() -> None:
    outputs = {
        "length": np.array([3], np.int32),
        "echo_bytes": strings(b"abc"),
        "echo": strings(b"ok:3"),
    }
    assert predict_json(outputs, True).decode() == (
        '{\n    "predictions": [\n        {\n            "length": 3,\n'
        '            "echo_bytes": {\n                "b64": "YWJj"\n            },\n'
        '            "echo": "ok:3"\n        }\n    ]\n}'
    )


def test_column_format_has_a_line_for_each_value() -> None:
    rows = np.array([3.5, 4.0], np.float32)
    assert predict_json({"y": rows}, False) == (
        b'{\n    "outputs": [\n        3.5,\n        4.0\n    ]\n}'
    )
    both = {"a": np.array([[1, 2]], np.int64), "b_bytes": strings(b"x")}
    assert predict_json(both, False).decode() == (
        '{\n    "outputs": {\n        "a": [\n            [\n                1,\n'
        '                2\n            ]\n        ],\n        "b_bytes": [\n            {\n'
        '                "b64": "eA=="\n            }\n        ]\n    }\n}'
    )


def test_column_format_takes_scalars_and_empty_tensors() -> None:
    assert predict_json({"y": np.float32(4.5).reshape(())}, False) == b'{\n    "outputs": 4.5\n}'
    empty = np.zeros((0, 2), np.float32)
    assert predict_json({"y": empty}, False) == b'{\n    "outputs": []\n}'


def test_an_empty_batch_is_an_empty_list() -> None:
    empty = np.zeros((0, 2), np.float32)
    assert predict_json({"y": empty}, True) == b'{\n    "predictions": []\n}'
    hollow = np.zeros((2, 0), np.float32)
    assert predict_json({"y": hollow}, True) == b'{\n    "predictions": [[], []\n    ]\n}'


def test_bytes_that_are_not_utf_8_pass_unchanged() -> None:
    assert b'"\xff"' in predict_json({"s": strings(b"\xff")}, True)


@pytest.mark.parametrize(
    ("outputs", "error"),
    [
        ({}, "Cannot convert empty tensor map to JSON"),
        ({"m": np.array(1.0, np.float32)}, "Tensor name: m has no shape information "),
        (
            {"a": np.zeros(2, np.float32), "b": np.zeros(3, np.float32)},
            "Tensor name: b has inconsistent batch size: 3 expecting: 2",
        ),
        ({"h": np.zeros(1, np.float16)}, "Failed to write JSON value for tensor type: half"),
        ({"c": np.zeros(1, np.complex64)}, "Failed to write JSON value for tensor type: complex64"),
    ],
)
def test_outputs_without_a_row_form_are_refused(outputs: dict[str, np.ndarray], error: str) -> None:
    with pytest.raises(ServingError) as refused:
        predict_json(outputs, True)
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert refused.value.message == error


def test_column_format_allows_different_batch_sizes() -> None:
    outputs = {"a": np.zeros(2, np.float32), "b": np.zeros((), np.float32)}
    assert predict_json(outputs, False).startswith(b'{\n    "outputs": {')


def test_classifications_are_pairs_of_label_and_score() -> None:
    scores = np.array([[0.75, 0.25]], np.float32)
    labels = strings(b"a", b"b").reshape(1, 2)
    assert classification_json(labels, scores) == (
        b'{\n    "results": [[["a", 0.75], ["b", 0.25]]\n    ]\n}'
    )
    assert classification_json(None, scores[:, :1]) == b'{\n    "results": [[["", 0.75]]\n    ]\n}'
    assert classification_json(labels[:, :1], None) == b'{\n    "results": [[["a", 0.0]]\n    ]\n}'


def test_regressions_are_numbers() -> None:
    values = np.array([4.5, 3.5], np.float32)
    assert regression_json(values) == b'{\n    "results": [4.5, 3.5]\n}'


def test_errors_are_one_member() -> None:
    assert error_json('a "b"\n') == b'{\n    "error": "a \\"b\\"\\n"\n}'
