"""Arrays as a signature wants them, and as callers get them, for REST and gRPC alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes  # noqa: F401  # gives numpy the name bfloat16
import numpy as np

from serving.client.errors import InvalidRequestError, ScaledPixelsError
from serving.client.interface import Signature, TensorSpec
from serving.status import Code

_DTYPES = {"float": "float32", "double": "float64", "half": "float16"}
_IMAGE_CHANNELS = (1, 3, 4)
_BYTES_SUFFIX = "_bytes"


def tensor_spec(dtype: str, sizes: list[int] | None) -> TensorSpec:
    """From a DataType's name (`DT_FLOAT`) and sizes, -1 where unknown; None for unknown rank."""
    name = dtype.removeprefix("DT_").lower()
    shape = None if sizes is None else tuple(None if size < 0 else size for size in sizes)
    return TensorSpec(_DTYPES.get(name, name), shape)


def input_arrays(inputs: Mapping[str, Any], signature: Signature) -> dict[str, np.ndarray]:
    """`inputs` as arrays of the signature's dtypes.

    Raises InvalidRequestError for names or values that the signature does not take, and
    ScaledPixelsError for images whose largest pixel is above 0 and at most 1.
    """
    if inputs.keys() != signature.inputs.keys():
        raise InvalidRequestError(
            Code.INVALID_ARGUMENT,
            f"the signature takes {sorted(signature.inputs)}, not {sorted(inputs)}",
        )
    return {
        alias: _input_array(alias, inputs[alias], spec) for alias, spec in signature.inputs.items()
    }


def _input_array(alias: str, value: Any, spec: TensorSpec) -> np.ndarray:
    try:
        array = string_array(value) if spec.dtype == "string" else _numbers(value, spec.dtype)
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(
            Code.INVALID_ARGUMENT, f"input {alias!r} must be {spec.dtype}: {error}"
        ) from error
    # A black image is the same scaled or not.
    if _holds_images(spec) and array.size and 0 < array.max() <= 1:
        raise ScaledPixelsError(
            Code.INVALID_ARGUMENT,
            f"no pixel of input {alias!r} is above 1, but the model takes 0 to 255 and scales "
            "them itself: send the image as it is",
        )
    return array


def _numbers(value: Any, dtype: str) -> np.ndarray:
    """Raises TypeError or ValueError rather than change what the numbers say."""
    array, target = np.asarray(value), np.dtype(dtype)
    if not array.size:
        return array.astype(target)
    if target.kind not in "iu":
        return array.astype(target, casting="same_kind")
    limits = np.iinfo(target)
    if array.dtype.kind not in "iu" or array.min() < limits.min or array.max() > limits.max:
        raise ValueError(f"it takes whole numbers from {limits.min} to {limits.max}")
    return array.astype(target)


def _holds_images(spec: TensorSpec) -> bool:
    """Numbers of shape [batch, height, width, channels]."""
    return (
        spec.dtype != "string"
        and spec.shape is not None
        and len(spec.shape) == 4
        and spec.shape[-1] in _IMAGE_CHANNELS
    )


def is_bytes(alias: str) -> bool:
    """Whether strings of an output are bytes: TensorFlow Serving's naming rule."""
    return alias.endswith(_BYTES_SUFFIX)


def string_array(values: Any) -> np.ndarray:
    """Nested lists of strings as an array of objects."""
    return np.asarray(values, dtype=object)
