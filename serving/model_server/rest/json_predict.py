"""REST predict bodies to arrays, with every rule and error text of TensorFlow Serving.

This is the complete reading of a body; `json_fast_path` reads the frequent ones with the same
result. Source: tensorflow_serving/util/json_tensor.cc.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from serving.model_server import deadline
from serving.model_server.errors import Code, ServingError, invalid_argument
from serving.model_server.rest.json_body import (
    base64_bytes,
    format_error,
    is_base64,
    name_of,
    signature_name,
)
from serving.model_server.rest.json_document import (
    JsonObject,
    JsonValue,
    debug_string,
    parse,
    type_name,
)

InputDtypes: TypeAlias = Mapping[str, str]
"""The inputs of a signature: alias to DataType in TensorFlow Serving's words, such as `float`."""

SignatureInputs: TypeAlias = Callable[[str], InputDtypes]
"""Looks up a signature (empty name: the default one); raises ServingError if there is none."""


# What is too large for a float becomes infinity. Entering numpy's errstate for each request takes
# four times as long as the cast.
warnings.filterwarnings(
    "ignore", "overflow encountered in cast", RuntimeWarning, re.escape(__name__)
)


@dataclass(slots=True)
class PredictBody:
    """A predict request: `row_format` tells `instances` (True) from `inputs`."""

    signature_name: str
    row_format: bool
    inputs: dict[str, np.ndarray]


def read_predict(body: bytes, signature_inputs: SignatureInputs) -> PredictBody:
    """Reads a predict request; raises ServingError with TensorFlow Serving's text.

    Past the deadline of the call, the error is DEADLINE_EXCEEDED.
    """
    document = parse(body)
    name = signature_name(document)
    dtypes = signature_inputs(name)
    if not dtypes:
        raise invalid_argument(f"Failed to get input map for signature: {name or 'DEFAULT'}")
    has_instances, has_inputs = b"instances" in document, b"inputs" in document
    if has_instances and has_inputs:
        raise format_error(
            document,
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
        )
    if has_instances:
        inputs = _read_instances(document, dtypes)
    elif has_inputs:
        inputs = _read_inputs(document[b"inputs"], dtypes)
    else:
        raise invalid_argument("Missing 'inputs' or 'instances' key")
    return PredictBody(name, has_instances, inputs)


@dataclass(slots=True)
class _Column:
    """The tensor of one input as it is filled, instance by instance."""

    alias: str
    dtype: str
    values: list[Any] = field(default_factory=list)
    shape: list[int] = field(default_factory=list)
    size: int = -1

    def add(self, item: JsonValue) -> None:
        """Appends an instance; all must have the shape of the first."""
        shape = _dense_shape(item)
        before = len(self.values)
        self.fill(item, shape)
        size = len(self.values) - before
        if self.size < 0:
            self.size, self.shape = size, shape
        elif self.size != size:
            raise invalid_argument(f"Expecting tensor size: {self.size} but got: {size}")
        elif self.shape != shape:
            raise invalid_argument(
                f"Expecting shape {_shape_text(self.shape)} but got: {_shape_text(shape)}"
            )

    def fill(self, item: JsonValue, shape: list[int]) -> None:
        """Appends the leaves of `item`, which must have `shape`; any depth of nesting will do."""
        lists = [iter([item])]
        while lists:
            level = len(lists) - 1
            for value in lists[-1]:
                if isinstance(value, list):
                    _check_list(value, level, shape)
                    lists.append(iter(value))
                    break
                _check_level(value, level, shape)
                self.values.append(_element(value, self.dtype))
            else:
                lists.pop()

    def tensor(self, shape: list[int]) -> np.ndarray:
        """The filled tensor. A name that occurs twice in an instance leaves values over."""
        if len(shape) > _MOST_DIMENSIONS:
            raise invalid_argument(f"tensor parsing error: {self.alias}")
        count = int(np.prod(shape, dtype=np.int64))
        return tensor_of(self.dtype, self.values[:count]).reshape(shape)


# numpy's limit; TensorFlow's own, with the same answer, is 254.
_MOST_DIMENSIONS = 64


def _check_list(value: list[JsonValue], level: int, shape: list[int]) -> None:
    if level >= len(shape):
        raise invalid_argument(
            f"Encountered list at unexpected level: {level} expected < {len(shape)}"
        )
    if len(value) != shape[level]:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )


def _check_level(leaf: JsonValue, level: int, shape: list[int]) -> None:
    if level != len(shape):
        raise invalid_argument(
            f"JSON Value: {debug_string(leaf)} found at incorrect level: {level + 1} "
            f"in the JSON DOM. Expected at level: {len(shape)}"
        )


def _dense_shape(item: JsonValue) -> list[int]:
    shape = []
    while isinstance(item, list):
        shape.append(len(item))
        if not item:
            break
        item = item[0]
    return shape


def _shape_text(shape: list[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


INTEGER_RANGES = {
    "int32": (-(2**31), 2**31),
    "int16": (-(2**31), 2**31),
    "int8": (-(2**31), 2**31),
    "uint8": (-(2**31), 2**31),
    "int64": (-(2**63), 2**63),
    "uint32": (0, 2**32),
    "uint64": (0, 2**64),
}
"""What is accepted by DataType; the narrow types share int32's range and wrap around."""


def _element(value: JsonValue, dtype: str) -> Any:
    if isinstance(value, JsonObject):
        if dtype != "string":
            raise _type_error(value, dtype)
        if not is_base64(value):
            raise format_error(value, "not formatted correctly for base64 data")
        return base64_bytes(value)
    if dtype in ("float", "double"):
        accepted = isinstance(value, float) or type(value) is int
    elif dtype in INTEGER_RANGES:
        low, high = INTEGER_RANGES[dtype]
        accepted = type(value) is int and low <= value < high
    elif dtype == "string":
        accepted = isinstance(value, bytes)
    elif dtype == "bool":
        accepted = isinstance(value, bool)
    else:
        raise ServingError(
            Code.UNIMPLEMENTED,
            f"Conversion of JSON Value: {debug_string(value)} to type: {dtype}",
        )
    if not accepted:
        raise _type_error(value, dtype)
    return value


def _type_error(value: JsonValue, dtype: str) -> ServingError:
    return invalid_argument(
        f"JSON Value: {debug_string(value)} Type: {type_name(value)} "
        f"is not of expected type: {dtype}"
    )


def tensor_of(dtype: str, values: Any) -> np.ndarray:
    """An array of `dtype` from accepted leaves: narrow integers wrap, large floats become inf."""
    if dtype == "string":
        strings = np.empty(len(values), dtype=object)
        strings[:] = values
        return strings
    if dtype == "float":
        return np.asarray(values, dtype=np.float64).astype(np.float32)
    if dtype in ("int16", "int8", "uint8"):
        return np.asarray(values, dtype=np.int32).astype(dtype)
    return np.asarray(values, dtype=dtype)


def _is_named(item: JsonValue) -> bool:
    return isinstance(item, JsonObject) and not is_base64(item)


def _read_instances(document: JsonObject, dtypes: InputDtypes) -> dict[str, np.ndarray]:
    instances = document[b"instances"]
    if not isinstance(instances, list):
        raise format_error(document, "Expecting 'instances' to be an list/array")
    if not instances:
        raise format_error(document, "No values in 'instances' array")
    if not isinstance(instances[0], JsonObject) and len(dtypes) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    if _is_named(instances[0]):
        columns = _named_columns(instances, dtypes)
    else:
        alias, dtype = next(iter(dtypes.items()))
        columns = [_plain_column(instances, _Column(alias, dtype))]
    return {column.alias: column.tensor([len(instances), *column.shape]) for column in columns}


def _plain_column(instances: list[JsonValue], column: _Column) -> _Column:
    for number, instance in enumerate(instances):
        deadline.check()
        if _is_named(instance):
            raise invalid_argument(
                f"Expecting value/list but got object at item {number} of input list"
            )
        try:
            column.add(instance)
        except ServingError as error:
            raise invalid_argument(
                f"Failed to process element: {number} of 'instances' list. Error: {error}"
            ) from None
    return column


def _named_columns(instances: list[JsonValue], dtypes: InputDtypes) -> Iterable[_Column]:
    columns = {alias: _Column(alias, dtype) for alias, dtype in dtypes.items()}
    for number, instance in enumerate(instances):
        deadline.check()
        if not isinstance(instance, JsonObject) or not _is_named(instance):
            raise invalid_argument(f"Expecting object but got list at item {number} of input list")
        _add_named(instance, number, columns)
        if {name_of(key) for key, _ in instance.members} != dtypes.keys():
            raise invalid_argument(
                f"Failed to process element: {number} of 'instances' list. "
                f"JSON object: {debug_string(instance)} "
                f"keys must be equal to: {','.join(sorted(dtypes))}"
            )
    return columns.values()


def _add_named(instance: JsonObject, number: int, columns: dict[str, _Column]) -> None:
    for key, item in instance.members:
        alias = name_of(key)
        try:
            if alias not in columns:
                raise invalid_argument(f"JSON object: does not have named input: {alias}")
            columns[alias].add(item)
        except ServingError as error:
            raise invalid_argument(
                f"Failed to process element: {number} key: {alias} of 'instances' list. "
                f"Error: {error}"
            ) from None


def _read_inputs(value: JsonValue, dtypes: InputDtypes) -> dict[str, np.ndarray]:
    if not _is_named(value):
        if len(dtypes) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        alias, dtype = next(iter(dtypes.items()))
        return {alias: _input_tensor(value, alias, dtype)}
    assert isinstance(value, JsonObject)
    inputs = {}
    for alias, dtype in dtypes.items():
        deadline.check()
        key = alias.encode("utf-8", "surrogateescape")
        if key not in value:
            raise invalid_argument(f"Missing named input: {alias} in 'inputs' object.")
        inputs[alias] = _input_tensor(value[key], alias, dtype)
    return inputs


def _input_tensor(value: JsonValue, alias: str, dtype: str) -> np.ndarray:
    column = _Column(alias, dtype)
    shape = _dense_shape(value)
    column.fill(value, shape)
    return column.tensor(shape)
