"""What a client sends: dtypes and names of the signature, and no scaled pixels."""

import numpy as np
import pytest

from serving.client.errors import InvalidRequestError, ScaledPixelsError
from serving.client.interface import Signature
from serving.client.tensors import input_arrays, tensor_spec


def signature(dtype: str, *sizes: int) -> Signature:
    return Signature(inputs={"x": tensor_spec(dtype, list(sizes))}, outputs={})


IMAGES = signature("DT_FLOAT", -1, 28, 28, 1)


def test_specs_have_numpys_dtypes_and_none_for_unknown_sizes() -> None:
    spec = tensor_spec("DT_FLOAT", [-1, 28])
    assert (spec.dtype, spec.shape) == ("float32", (None, 28))
    assert tensor_spec("DT_STRING", None).shape is None
    assert tensor_spec("DT_DOUBLE", []).dtype == "float64"


@pytest.mark.parametrize("value", [[1, 2], [1.5, 2.5], np.array([1, 2], np.float64)])
def test_numbers_become_the_dtype_of_the_signature(value: object) -> None:
    array = input_arrays({"x": value}, signature("DT_FLOAT", -1))["x"]
    assert array.dtype == np.float32


@pytest.mark.parametrize("dtype", ["DT_UINT8", "DT_INT64", "DT_UINT64"])
def test_whole_numbers_become_any_integer_type_that_holds_them(dtype: str) -> None:
    array = input_arrays({"x": [0, 255]}, signature(dtype, -1))["x"]
    assert (array.dtype.name, array.tolist()) == (dtype.removeprefix("DT_").lower(), [0, 255])


def test_strings_become_objects() -> None:
    array = input_arrays({"x": [b"a", "b"]}, signature("DT_STRING", -1))["x"]
    assert array.dtype == object
    assert array.tolist() == [b"a", "b"]


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("DT_INT32", [1.5]),
        ("DT_INT32", [2**31]),
        ("DT_UINT8", [-1]),
        ("DT_UINT8", [256]),
        ("DT_FLOAT", ["a"]),
        ("DT_FLOAT", [None]),
        ("DT_FLOAT", [[1], [1, 2]]),
        ("DT_BOOL", [1]),
    ],
)
def test_values_that_would_lose_their_meaning_are_refused(dtype: str, value: object) -> None:
    with pytest.raises(InvalidRequestError, match="'x' must be"):
        input_arrays({"x": value}, signature(dtype, -1))


def test_other_names_than_the_signatures_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match=r"takes \['x'\], not \['y'\]"):
        input_arrays({"y": [1.0]}, IMAGES)


@pytest.mark.parametrize("largest", [1e-6, 0.5, 1.0])
def test_pixels_that_were_scaled_already_are_refused(largest: float) -> None:
    images = np.zeros((1, 28, 28, 1), np.float32)
    images[0, 3, 3, 0] = largest
    with pytest.raises(ScaledPixelsError, match="0 to 255"):
        input_arrays({"x": images}, IMAGES)


def test_a_black_image_is_sent() -> None:
    images = np.zeros((1, 28, 28, 1), np.uint8)
    assert not input_arrays({"x": images}, IMAGES)["x"].any()


def test_pixels_from_0_to_255_are_sent() -> None:
    images = np.full((2, 28, 28, 1), 200, np.uint8)
    assert input_arrays({"x": images}, IMAGES)["x"].max() == 200


def test_small_numbers_that_are_no_pixels_are_sent() -> None:
    assert input_arrays({"x": [0.5]}, signature("DT_FLOAT", -1))["x"].tolist() == [0.5]
