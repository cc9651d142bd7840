"""TensorProto to numpy and back, by the rules of TensorFlow's C++ `Tensor::FromProto`.

Server and clients share it; TensorFlow is not imported. `tf.make_ndarray` accepts other things (it
broadcasts wrongly sized values and takes any shape) and `tf.make_tensor_proto` puts everything into
`tensor_content`, which clients of TensorFlow Serving do not see from it.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np


class MalformedTensorError(ValueError):
    """A TensorProto that TensorFlow does not take either."""


class DataType(IntEnum):
    """The types of elements that numpy has, numbered as in TensorFlow's `types.proto`."""

    FLOAT = 1
    DOUBLE = 2
    INT32 = 3
    UINT8 = 4
    INT16 = 5
    INT8 = 6
    STRING = 7
    COMPLEX64 = 8
    INT64 = 9
    BOOL = 10
    BFLOAT16 = 14
    UINT16 = 17
    COMPLEX128 = 18
    HALF = 19
    UINT32 = 22
    UINT64 = 23


class _Kind(NamedTuple):
    """How a TensorProto holds values of one type: in which field, and as what in numpy.

    `itemsize` is in bytes; for strings, that of an empty one in TensorFlow.
    """

    field: str
    dtype: np.dtype[Any]
    itemsize: int


def _kind(field: str, dtype: Any) -> _Kind:
    return _Kind(field, np.dtype(dtype), np.dtype(dtype).itemsize)


# Where a TensorProto keeps the values of a type (tensor.proto).
_KINDS: dict[int, _Kind] = {
    DataType.STRING: _Kind("string_val", np.dtype(object), 24),
    DataType.FLOAT: _kind("float_val", np.float32),
    DataType.DOUBLE: _kind("double_val", np.float64),
    DataType.INT32: _kind("int_val", np.int32),
    DataType.INT16: _kind("int_val", np.int16),
    DataType.INT8: _kind("int_val", np.int8),
    DataType.UINT8: _kind("int_val", np.uint8),
    DataType.UINT16: _kind("int_val", np.uint16),
    DataType.INT64: _kind("int64_val", np.int64),
    DataType.BOOL: _kind("bool_val", np.bool_),
    DataType.UINT32: _kind("uint32_val", np.uint32),
    DataType.UINT64: _kind("uint64_val", np.uint64),
    DataType.HALF: _kind("half_val", np.float16),
    DataType.BFLOAT16: _kind("half_val", ml_dtypes.bfloat16),
    DataType.COMPLEX64: _kind("scomplex_val", np.complex64),
    DataType.COMPLEX128: _kind("dcomplex_val", np.complex128),
}
_HALVES = (DataType.HALF, DataType.BFLOAT16)
_COMPLEX: dict[int, Any] = {DataType.COMPLEX64: np.float32, DataType.COMPLEX128: np.float64}
_ENUMS = {kind.dtype: enum for enum, kind in _KINDS.items()}

# A few bytes of request can name a shape of any size: what no message could carry is refused, and
# so is what would be made up of many more elements than were sent.
_MAX_TENSOR_BYTES = 2**31 - 1
_MAX_FILLED_ELEMENTS = 2**22
_MAX_REPEATED_BYTES = 2**26
# numpy's, where TensorFlow has 254.
_MAX_RANK = 64


def array_from_proto(proto: Any) -> np.ndarray:
    """The array of a TensorProto; strings become object arrays of bytes.

    An unknown rank counts for nothing, as in TensorFlow (`TensorShapeBase::IsValid`). Raises
    MalformedTensorError.
    """
    enum = proto.dtype
    kind = _KINDS.get(enum)
    if kind is None:
        raise _malformed()
    shape = shape_from_proto(proto, kind.itemsize)
    size = math.prod(shape)
    content = proto.tensor_content
    if enum == DataType.STRING:
        values = _decode_string_list(content, size) if content else list(proto.string_val)
        check_filling(len(values), size)
        return _strings(values, size).reshape(shape)
    if content:
        if len(content) != size * kind.itemsize:
            raise _malformed()
        return np.frombuffer(content, dtype=kind.dtype).reshape(shape)
    values = getattr(proto, kind.field)
    check_filling(len(values), size)
    return _filled(_numbers(values, enum, kind), size).reshape(shape)


def shape_from_proto(proto: Any, itemsize: int) -> list[int]:
    """The shape of a TensorProto; MalformedTensorError if no tensor has it."""
    shape = [dim.size for dim in proto.tensor_shape.dim]
    # numpy bounds the product of the dimensions even if one of them is 0.
    extent = math.prod(dim or 1 for dim in shape) * itemsize
    if len(shape) > _MAX_RANK or min(shape, default=0) < 0 or extent > _MAX_TENSOR_BYTES:
        raise _malformed()
    return shape


def check_filling(sent: int, size: int) -> None:
    """Raises MalformedTensorError if far more elements are asked for than were sent."""
    if sent < size and size > _MAX_FILLED_ELEMENTS:
        raise _malformed()


def _malformed() -> MalformedTensorError:
    return MalformedTensorError("the tensor is malformed")


def _numbers(values: Any, enum: int, kind: _Kind) -> np.ndarray:
    if enum in _COMPLEX:
        parts = np.array(values, _COMPLEX[enum])
        return parts[: len(parts) // 2 * 2].view(kind.dtype)
    if enum in _HALVES:
        return np.array(values, np.int64).astype(np.uint16).view(kind.dtype)
    if kind.field == "int_val":
        return np.array(values, np.int64).astype(kind.dtype)
    return np.array(values, kind.dtype)


def _filled(values: np.ndarray, size: int) -> np.ndarray:
    """Fewer values than elements repeat the last one, none means zeros, surplus is ignored."""
    sent = len(values)
    if sent >= size:
        return values[:size]
    full = np.zeros(size, values.dtype)
    if sent:
        full[:sent] = values
        full[sent:] = values[-1]
    return full


def _strings(values: list[bytes], size: int) -> np.ndarray:
    array = np.empty(size, dtype=object)
    if len(values) >= size:
        array[:] = values[:size]
        return array
    last = values[-1] if values else b""
    # One object here, but TensorFlow has a copy of it in each element.
    if (size - len(values)) * len(last) > _MAX_REPEATED_BYTES:
        raise _malformed()
    array[: len(values)] = values
    array[len(values) :] = last
    return array


def _decode_string_list(content: bytes, count: int) -> list[bytes]:
    """`count` varint lengths, then the strings, end to end (TensorFlow's EncodeStringList)."""
    lengths, position = [], 0
    for _ in range(count):
        length = shift = 0
        while True:
            if position >= len(content) or shift > 28:
                raise _malformed()
            byte = content[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise _malformed()
    strings = []
    for length in lengths:
        strings.append(content[position : position + length])
        position += length
    return strings


def fill_proto(proto: Any, array: np.ndarray, as_content: bool = False) -> None:
    """Writes an array into an empty TensorProto: typed values, or `tensor_content` if asked."""
    enum = DataType.STRING if array.dtype.kind in "OSU" else _ENUMS[array.dtype]
    proto.dtype = enum
    shape = proto.tensor_shape
    shape.SetInParent()
    for size in array.shape:
        shape.dim.add().size = size
    if as_content and enum != DataType.STRING:
        proto.tensor_content = np.ascontiguousarray(array).tobytes()
        return
    flat = array.ravel()
    if enum in _HALVES:
        flat = flat.view(np.uint16)
    elif enum in _COMPLEX:
        flat = flat.view(_COMPLEX[enum])
    getattr(proto, _KINDS[enum].field).extend(flat.tolist())
