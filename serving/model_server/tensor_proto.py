"""TensorProto to numpy and back, by the rules of TensorFlow's C++ `Tensor::FromProto`.

`tf.make_ndarray` accepts other things (it broadcasts wrongly sized values and takes any shape) and
`tf.make_tensor_proto` puts everything into `tensor_content`, which clients of TensorFlow Serving do
not see from it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from serving.model_server.errors import ServingError, invalid_argument
from serving.model_server.signatures import foreign_dtype


class _Kind(NamedTuple):
    """How a TensorProto holds values of one dtype: in which field, and as what in numpy.

    `itemsize` is in bytes; for strings, that of an empty one in TensorFlow.
    """

    field: str
    dtype: np.dtype[Any]
    itemsize: int


# Where a TensorProto keeps the values of a dtype (tensor.proto).
_VALUE_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_UINT16: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_HALF: "half_val",
    types_pb2.DT_BFLOAT16: "half_val",
    types_pb2.DT_COMPLEX64: "scomplex_val",
    types_pb2.DT_COMPLEX128: "dcomplex_val",
}
_HALVES = (types_pb2.DT_HALF, types_pb2.DT_BFLOAT16)
_COMPLEX = {types_pb2.DT_COMPLEX64: np.float32, types_pb2.DT_COMPLEX128: np.float64}


def _kinds() -> dict[int, _Kind]:
    kinds = {types_pb2.DT_STRING: _Kind("string_val", np.dtype(object), 24)}
    for enum, field in _VALUE_FIELDS.items():
        dtype = np.dtype(tf.as_dtype(enum).as_numpy_dtype)
        kinds[enum] = _Kind(field, dtype, dtype.itemsize)
    return kinds


_KINDS = _kinds()
_ENUMS = {kind.dtype: enum for enum, kind in _KINDS.items()}
# What TensorFlow reads from a TensorProto and numpy has no values for: no placeholder of a model
# that is served takes them, but the refusal names them.
_FOREIGN = frozenset(types_pb2.DataType.values()) - {types_pb2.DT_INVALID, *_KINDS}
_FIRST_REF_ENUM = 101

# A few bytes of request can name a shape of any size: what no message could carry is refused, and
# so is what would be made up of many more elements than were sent.
_MAX_TENSOR_BYTES = 2**31 - 1
_MAX_FILLED_ELEMENTS = 2**22
# numpy's, where TensorFlow has 254.
_MAX_RANK = 64


def array_from_proto(alias: str, proto: Any) -> np.ndarray:
    """The array of a TensorProto; strings become object arrays of bytes.

    A dtype that numpy lacks (a resource handle, say) gives an array of `foreign_dtype`, an unknown
    rank counts for nothing, as in TensorFlow (`TensorShapeBase::IsValid`). Raises ServingError
    (INVALID_ARGUMENT) naming the input `alias` if the proto is malformed.
    """
    error = invalid_argument(f"tensor parsing error: {alias}")
    enum = proto.dtype
    kind = _KINDS.get(enum)
    if kind is None:
        if enum not in _FOREIGN or enum >= _FIRST_REF_ENUM:
            raise error
        kind = _Kind("", foreign_dtype(enum), 1)
    shape = [dim.size for dim in proto.tensor_shape.dim]
    # numpy bounds the product of the dimensions even if one of them is 0.
    extent = math.prod(dim or 1 for dim in shape) * kind.itemsize
    if len(shape) > _MAX_RANK or min(shape, default=0) < 0 or extent > _MAX_TENSOR_BYTES:
        raise error
    size = math.prod(shape)
    content = proto.tensor_content
    if not kind.field:
        _check_filling(0, size, error)
        return np.zeros(shape, kind.dtype)
    if enum == types_pb2.DT_STRING:
        values = _decode_string_list(content, size, error) if content else list(proto.string_val)
        _check_filling(len(values), size, error)
        return _strings(values, size).reshape(shape)
    if content:
        if len(content) != size * kind.itemsize:
            raise error
        return np.frombuffer(content, dtype=kind.dtype).reshape(shape)
    values = getattr(proto, kind.field)
    _check_filling(len(values), size, error)
    return _filled(_numbers(values, enum, kind), size).reshape(shape)


def _check_filling(sent: int, size: int, error: ServingError) -> None:
    if sent < size and size > _MAX_FILLED_ELEMENTS:
        raise error


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
    else:
        array[: len(values)] = values
        array[len(values) :] = values[-1] if values else b""
    return array


def _decode_string_list(content: bytes, count: int, error: ServingError) -> list[bytes]:
    """`count` varint lengths, then the strings, end to end (TensorFlow's EncodeStringList)."""
    lengths, position = [], 0
    for _ in range(count):
        length = shift = 0
        while True:
            if position >= len(content) or shift > 28:
                raise error
            byte = content[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise error
    strings = []
    for length in lengths:
        strings.append(content[position : position + length])
        position += length
    return strings


def fill_proto(proto: Any, array: np.ndarray, as_content: bool = False) -> None:
    """Writes an array into an empty TensorProto: typed values, or `tensor_content` if asked."""
    enum = types_pb2.DT_STRING if array.dtype.kind in "OSU" else _ENUMS[array.dtype]
    proto.dtype = enum
    shape = proto.tensor_shape
    shape.SetInParent()
    for size in array.shape:
        shape.dim.add().size = size
    if as_content and enum != types_pb2.DT_STRING:
        proto.tensor_content = np.ascontiguousarray(array).tobytes()
        return
    flat = array.ravel()
    if enum in _HALVES:
        flat = flat.view(np.uint16)
    elif enum in _COMPLEX:
        flat = flat.view(_COMPLEX[enum])
    getattr(proto, _KINDS[enum].field).extend(flat.tolist())
