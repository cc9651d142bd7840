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
from serving.model_server.loader import LoaderOptions, SavedModelLoader
from serving.model_server.metrics import Metrics

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
    path = tmp_path_factory.mktemp("identity") / "1"
    tf.saved_model.save(module, str(path), signatures=signatures)
    options = LoaderOptions(config_pb2.ConfigProto(inter_op_parallelism_threads=-1))
    servable = SavedModelLoader(options, Metrics()).load("identity", 1, Path(path))
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
