"""A request's TensorProto as an array."""

from __future__ import annotations

from typing import Any

import numpy as np

from serving import tensors
from serving.model_server.errors import invalid_argument


def array_from_proto(alias: str, proto: Any) -> np.ndarray:
    """The array of a TensorProto; strings become object arrays of bytes.

    Raises ServingError (INVALID_ARGUMENT) naming the input `alias` if the proto is malformed.
    """
    try:
        return tensors.array_from_proto(proto)
    except tensors.MalformedTensorError as error:
        raise invalid_argument(f"tensor parsing error: {alias}") from error
