"""A request's TensorProto as an array."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from tensorflow.core.framework import types_pb2

from serving import tensors
from serving.model_server.errors import invalid_argument
from serving.model_server.signatures import foreign_dtype

# What TensorFlow reads from a TensorProto and numpy has no values for: no placeholder of a model
# that is served takes them, but the refusal names them.
_FOREIGN = frozenset(types_pb2.DataType.values()) - {types_pb2.DT_INVALID, *tensors.DataType}
_FIRST_REF_ENUM = 101


def array_from_proto(alias: str, proto: Any) -> np.ndarray:
    """The array of a TensorProto; strings become object arrays of bytes.

    A dtype that numpy lacks (a resource handle, say) gives an array of `foreign_dtype`. Raises
    ServingError (INVALID_ARGUMENT) naming the input `alias` if the proto is malformed.
    """
    try:
        if proto.dtype in _FOREIGN and proto.dtype < _FIRST_REF_ENUM:
            shape = tensors.shape_from_proto(proto, itemsize=1)
            tensors.check_filling(0, math.prod(shape))
            return np.zeros(shape, foreign_dtype(proto.dtype))
        return tensors.array_from_proto(proto)
    except tensors.MalformedTensorError as error:
        raise invalid_argument(f"tensor parsing error: {alias}") from error
