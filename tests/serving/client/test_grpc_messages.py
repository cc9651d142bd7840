"""The gRPC client's messages come without TensorFlow, and do not get in its way."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )


def test_the_grpc_client_is_imported_without_tensorflows_runtime() -> None:
    done = run(
        "import sys; from serving.client.grpc_client import GrpcClient;"
        "sys.exit('tensorflow' in sys.modules or 'tensorflow.python' in sys.modules)"
    )
    assert done.returncode == 0, done.stderr


def test_tensorflow_imported_later_is_whole_and_knows_the_same_messages() -> None:
    done = run(
        "from serving.client.grpc_messages import predict_pb2\n"
        "import tensorflow as tf\n"
        "request = predict_pb2.PredictRequest()\n"
        "request.inputs['x'].CopyFrom(tf.make_tensor_proto([1.0, 2.0]))\n"
        "print(tf.make_ndarray(request.inputs['x']).sum() + tf.constant(1.0).numpy())\n"
    )
    assert done.stdout == "4.0\n", done.stderr
