"""Tensors of every dtype and some shapes, from request through a session to the answer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import predict_pb2

from serving.model_server import inference
from serving.model_server.errors import ServingError
from serving.model_server.loader import LoaderOptions, SavedModelLoader
from serving.model_server.metrics import Metrics
from serving.model_server.tensor_proto import array_from_proto

DTYPES = [
    tf.float32,
    tf.float64,
    tf.float16,
    tf.bfloat16,
    tf.int8,
    tf.int16,
    tf.int32,
    tf.int64,
    tf.uint8,
    tf.uint16,
    tf.uint32,
    tf.uint64,
    tf.bool,
    tf.complex64,
    tf.complex128,
    tf.string,
]


def load(path: Path, module: tf.Module, signatures: dict[str, Any]) -> Any:
    tf.saved_model.save(module, str(path), signatures=signatures)
    options = LoaderOptions(config_pb2.ConfigProto(inter_op_parallelism_threads=-1))
    return SavedModelLoader(options, Metrics()).load("identity", 1, path)


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A servable with a signature per dtype that answers its input."""
    module, signatures = tf.Module(), {}
    for dtype in DTYPES:
        function = tf.function(
            lambda x: {"y": tf.identity(x)},
            input_signature=[tf.TensorSpec(None, dtype, name="x")],
        )
        setattr(module, f"identity_{dtype.name}", function)
        signatures[dtype.name] = function
    servable = load(tmp_path_factory.mktemp("identity") / "1", module, signatures)
    yield servable
    servable.close()


@pytest.mark.parametrize("shape", [[], [2], [0, 3]], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_a_tensor_is_answered_as_it_was_sent(
    identity: Any, dtype: tf.DType, shape: list[int]
) -> None:
    if dtype == tf.string:
        values = np.resize(np.array([b"ab", b"c\xff"], object), shape)
    else:
        values = np.resize(tf.cast([1, 0], dtype).numpy(), shape)
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = dtype.name
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(values, dtype, shape))
    answer = inference.predict(identity, request).outputs["y"]
    assert answer.dtype == dtype.as_datatype_enum
    assert [dim.size for dim in answer.tensor_shape.dim] == shape
    assert tf.make_ndarray(answer).tolist() == values.tolist()


@pytest.mark.parametrize("dtype", [tf.variant, tf.resource, tf.qint8], ids=lambda dtype: dtype.name)
def test_a_signature_that_nobody_outside_can_ask_is_in_the_way_of_none(
    tmp_path: Path, dtype: tf.DType
) -> None:
    module = tf.Module()
    module.inside = tf.function(
        lambda x: {"y": tf.constant(1.0)}, input_signature=[tf.TensorSpec([], dtype, name="x")]
    )
    module.half = tf.function(
        lambda x: {"y": x / 2}, input_signature=[tf.TensorSpec([], tf.float32, name="x")]
    )
    signatures = {"inside": module.inside, "serving_default": module.half}
    servable = load(tmp_path / "1", module, signatures)
    one = np.array(1, np.float32)
    assert servable.predict("", {"x": one}) == {"y": 0.5}
    with pytest.raises(ServingError, match=f"to be {dtype.name} but float is provided"):
        servable.predict("inside", {"x": one})
    handle = tf.make_tensor_proto(0.0)
    handle.dtype = dtype.as_datatype_enum
    with pytest.raises(ServingError):
        servable.predict("inside", {"x": array_from_proto("x", handle)})
    servable.close()
