"""TensorProto to arrays and back, by TensorFlow's own rules."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tensorflow.core.protobuf import config_pb2

from serving.model_server import tensor_proto
from serving.model_server.errors import ServingError
from serving.model_server.loader import LoaderOptions, SavedModelLoader
from serving.model_server.metrics import Metrics
from serving.status import Code
from serving.tensors import MalformedTensorError, array_from_proto, fill_proto


def tensor(dtype: int, shape: list[int], **values: Any) -> Any:
    dims = [tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in shape]
    return tensor_pb2.TensorProto(
        dtype=dtype, tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=dims), **values
    )


@pytest.mark.parametrize(
    ("proto", "expected"),
    [
        (tensor(types_pb2.DT_FLOAT, [3], float_val=[1, 2]), [1, 2, 2]),
        (tensor(types_pb2.DT_FLOAT, [2]), [0, 0]),
        (tensor(types_pb2.DT_FLOAT, [1], float_val=[1, 2, 3]), [1]),
        (tensor(types_pb2.DT_FLOAT, [], float_val=[7]), 7),
        (tensor(types_pb2.DT_FLOAT, [0]), []),
        (tensor(types_pb2.DT_INT32, [1, 2], int_val=[3]), [[3, 3]]),
        (tensor(types_pb2.DT_UINT8, [2], int_val=[255, 0]), [255, 0]),
        (tensor(types_pb2.DT_BOOL, [2], bool_val=[True, False]), [True, False]),
        (tensor(types_pb2.DT_STRING, [3], string_val=[b"a"]), [b"a", b"a", b"a"]),
        (tensor(types_pb2.DT_STRING, [2]), [b"", b""]),
        (tensor(types_pb2.DT_STRING, [2], tensor_content=b"\x01\x02abb"), [b"a", b"bb"]),
        (tensor(types_pb2.DT_COMPLEX64, [1], scomplex_val=[1, 2]), [1 + 2j]),
    ],
)
def test_values_fill_the_shape(proto: Any, expected: Any) -> None:
    assert array_from_proto(proto).tolist() == expected


@pytest.mark.parametrize(
    "proto",
    [
        tensor(types_pb2.DT_FLOAT, [2], tensor_content=b"\x00" * 7),
        tensor(types_pb2.DT_FLOAT, [-1], float_val=[1]),
        tensor(types_pb2.DT_INVALID, [1]),
        tensor(types_pb2.DT_FLOAT_REF, [1]),
        tensor(9999, [1]),
        tensor(types_pb2.DT_FLOAT, [2**40, 2**40]),
        tensor(types_pb2.DT_STRING, [2**63 - 1, 0]),
        tensor(types_pb2.DT_FLOAT, [1] * 65),
        tensor(types_pb2.DT_FLOAT, [2**30], float_val=[1]),
        tensor(types_pb2.DT_STRING, [2**30], string_val=[b"a"]),
        tensor(types_pb2.DT_STRING, [2**16 + 3], string_val=[b"a", b"b" * 1024]),
        tensor(types_pb2.DT_STRING, [2], tensor_content=b"\x01\x05abb"),
        tensor(types_pb2.DT_STRING, [1], tensor_content=b"\xff\xff\xff\xff\xff\xff"),
        tensor(types_pb2.DT_RESOURCE, [-1]),
    ],
)
def test_a_malformed_tensor_is_refused_by_its_name(proto: Any) -> None:
    with pytest.raises(MalformedTensorError):
        array_from_proto(proto)
    with pytest.raises(ServingError) as refusal:
        tensor_proto.array_from_proto("x", proto)
    assert (refusal.value.code, refusal.value.message) == (
        Code.INVALID_ARGUMENT,
        "tensor parsing error: x",
    )


def test_a_string_fills_as_much_as_a_request_may_take() -> None:
    proto = tensor(types_pb2.DT_STRING, [2**16 + 2], string_val=[b"a", b"b" * 1024])
    assert len(array_from_proto(proto)) == 2**16 + 2


def test_an_unknown_rank_counts_for_nothing_as_in_tensorflow() -> None:
    shape = tensor_shape_pb2.TensorShapeProto(unknown_rank=True)
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, tensor_shape=shape, float_val=[7])
    assert array_from_proto(proto).tolist() == 7


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (types_pb2.DT_RESOURCE, "resource"),
        (types_pb2.DT_VARIANT, "variant"),
        (types_pb2.DT_QINT8, "qint8"),
        (types_pb2.DT_INT4, "int4"),
    ],
)
def test_what_numpy_cannot_hold_is_refused_by_its_dtype(dtype: int, name: str) -> None:
    conformance = Path(__file__).parent / "conformance"
    loader = SavedModelLoader(LoaderOptions(config_pb2.ConfigProto()), Metrics())
    servable = loader.load("m", 1, conformance / "models" / "half_plus" / "1")
    with pytest.raises(ServingError) as refusal:
        servable.predict("", {"x": tensor(dtype, [1])}, decode=tensor_proto.array_from_proto)
    assert refusal.value.code == Code.INVALID_ARGUMENT
    assert refusal.value.message == f"Expects arg[0] to be float but {name} is provided"


ARRAYS = [
    np.float32([[1.5, np.inf]]),
    np.float64([0.1]),
    np.int64([2**62]),
    np.uint64([2**63]),
    np.int8([-1]),
    np.array([True, False]),
    np.float16([0.5]),
    np.array([1 + 2j], np.complex64),
    np.float32(3),
    np.zeros([0, 4], np.float32),
    np.array([b"a", b"\xff"], object),
    tf.constant([1.5], tf.bfloat16).numpy(),
]


@pytest.mark.parametrize("as_content", [False, True])
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_an_array_comes_back_as_it_went(array: np.ndarray, as_content: bool) -> None:
    proto = tensor_pb2.TensorProto()
    fill_proto(proto, np.asarray(array), as_content)
    back = array_from_proto(proto)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tolist() == array.tolist()


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_tensorflow_reads_what_is_written(array: np.ndarray) -> None:
    proto = tensor_pb2.TensorProto()
    fill_proto(proto, np.asarray(array))
    assert np.asarray(tf.make_ndarray(proto)).tolist() == array.tolist()
