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


def test_no_client_call_imports_tensorflow() -> None:
    done = run(
        "import sys\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "import grpc, numpy as np\n"
        "from serving.client import grpc_messages as m\n"
        "from serving.client.grpc_client import GrpcClient\n"
        "from serving.client.rest_client import RestClient\n"
        "from serving.tensors import fill_proto\n"
        "class Service:\n"
        "    def GetModelMetadata(self, request, context):\n"
        "        map = m.get_model_metadata_pb2.SignatureDefMap()\n"
        "        definition = map.signature_def['serving_default']\n"
        "        definition.inputs['x'].dtype = definition.outputs['y'].dtype = 1\n"
        "        answer = m.get_model_metadata_pb2.GetModelMetadataResponse()\n"
        "        answer.metadata['signature_def'].Pack(map)\n"
        "        return answer\n"
        "    def Predict(self, request, context):\n"
        "        answer = m.predict_pb2.PredictResponse()\n"
        "        answer.outputs['y'].CopyFrom(request.inputs['x'])\n"
        "        return answer\n"
        "    Classify = Regress = MultiInference = PredictStreamed = Predict\n"
        "server = grpc.server(ThreadPoolExecutor(2))\n"
        "add = m.prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server\n"
        "add(Service(), server)\n"
        "port = server.add_insecure_port('127.0.0.1:0')\n"
        "server.start()\n"
        "client = GrpcClient(f'127.0.0.1:{port}', 'm')\n"
        "print(client.predict({'x': [1.5]})['y'], 'tensorflow' in sys.modules)\n"
        "server.stop(0)\n"
    )
    assert done.stdout == "[1.5] False\n", done.stderr


def test_tensorflow_imported_later_is_whole_and_knows_the_same_messages() -> None:
    done = run(
        "from serving.client.grpc_messages import predict_pb2\n"
        "import tensorflow as tf\n"
        "request = predict_pb2.PredictRequest()\n"
        "request.inputs['x'].CopyFrom(tf.make_tensor_proto([1.0, 2.0]))\n"
        "print(tf.make_ndarray(request.inputs['x']).sum() + tf.constant(1.0).numpy())\n"
    )
    assert done.stdout == "4.0\n", done.stderr
