"""Versions swapped under continuous load: no request fails, no answer is wrong, memory is flat."""

import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import requests

CLIENTS = 8
# What the allocator may keep over the swaps after the tenth; a leaked version of this model would
# cost about 1 MB a swap.
ALLOWED_GROWTH_MEGABYTES = 12


@dataclass(frozen=True)
class SwapReport:
    """What a series of swaps did; memory in megabytes, after each swap."""

    requests: int
    memory: list[float]


Publish = Callable[[int], None]


@pytest.fixture
def base_path(tmp_path: Path) -> Path:
    return tmp_path / "half"


@pytest.fixture
def publish(base_path: Path, tmp_path: Path) -> Publish:
    """Publishes version N of a model that answers x / 2 + N, and removes version N - 2."""
    import tensorflow as tf

    class HalfPlus(tf.Module):
        def __init__(self) -> None:
            self.b = tf.Variable(0.0)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def predict(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": 0.5 * x + self.b}

    module = HalfPlus()
    base_path.mkdir()

    def publisher(version: int) -> None:
        module.b.assign(version)
        staging = tmp_path / "staging"
        tf.saved_model.save(module, str(staging), signatures=module.predict)
        staging.rename(base_path / str(version))
        shutil.rmtree(base_path / str(version - 2), ignore_errors=True)

    publisher(1)
    return publisher


def rest_predict(session: requests.Session, url: str) -> tuple[int, float]:
    """The version that must have answered, and the answer."""
    answer = session.post(f"{url}/v1/models/half:predict", json={"instances": [1.0]}, timeout=60)
    assert answer.status_code == 200, answer.text
    [value] = answer.json()["predictions"]
    return round(value - 0.5), value


def grpc_predict(stub: Any, request: Any) -> tuple[int, float]:
    answer = stub.Predict(request, timeout=60)
    return answer.model_spec.version.value, answer.outputs["y"].float_val[0]


def rest_client(server: Any, stopping: threading.Event, newest: list[int]) -> int:
    with requests.Session() as session:
        return ask(lambda: rest_predict(session, server.url), stopping, newest)


def grpc_client(server: Any, stopping: threading.Event, newest: list[int]) -> int:
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "half"
    request.inputs["x"].dtype = 1
    request.inputs["x"].tensor_shape.dim.add(size=1)
    request.inputs["x"].float_val.append(1.0)
    with grpc.insecure_channel(server.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return ask(lambda: grpc_predict(stub, request), stopping, newest)


def ask(
    predict: Callable[[], tuple[int, float]], stopping: threading.Event, newest: list[int]
) -> int:
    """Asks until told to stop. Each answer is that of a version that is served just then.

    What is published next may answer already; a version once superseded never answers again.
    """
    count, seen = 0, 0
    while not stopping.is_set():
        version, value = predict()
        assert value == 0.5 + version
        assert seen <= version <= newest[0]
        seen = version
        count += 1
    return count


def wait_until_served(server: Any, version: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        answer = requests.get(f"{server.url}/v1/models/half", timeout=60).json()
        states = {
            int(item["version"]): (item["state"], item["status"]["error_code"])
            for item in answer["model_version_status"]
        }
        assert all(code == "OK" for _, code in states.values())
        old = [state for number, (state, _) in states.items() if number != version]
        if states.get(version, ("",))[0] == "AVAILABLE" and set(old) <= {"END"}:
            return
        assert time.monotonic() < deadline, states
        time.sleep(0.02)


def swap_under_load(server: Any, publish: Publish, swaps: int) -> SwapReport:
    process = psutil.Process(server.process.pid)
    stopping, newest, memory = threading.Event(), [1], []
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients: list[Future[int]] = [
            pool.submit(client, server, stopping, newest)
            for client in (rest_client, grpc_client) * (CLIENTS // 2)
        ]
        try:
            for version in range(2, swaps + 2):
                newest[0] = version
                publish(version)
                wait_until_served(server, version)
                memory.append(process.memory_info().rss / 2**20)
                assert not any(client.done() for client in clients)
        finally:
            stopping.set()
        counts = [client.result() for client in clients]
    assert min(counts) > 0
    return SwapReport(sum(counts), memory)


@pytest.fixture
def swap(start_model_server: Any, publish: Publish, base_path: Path) -> Callable[[int], SwapReport]:
    server = start_model_server("--model_name=half", f"--model_base_path={base_path}")
    return lambda swaps: swap_under_load(server, publish, swaps)


@pytest.mark.integration
def test_ten_swaps_under_load_fail_no_request(swap: Callable[[int], SwapReport]) -> None:
    report = swap(10)
    assert report.requests > 100


@pytest.mark.soak
def test_fifty_swaps_under_load_fail_no_request_and_keep_memory_flat(
    swap: Callable[[int], SwapReport], record_result: Any
) -> None:
    report = swap(50)
    record_result(
        "model_server_hot_swap",
        {
            "swaps": 50,
            "clients": CLIENTS,
            "requests": report.requests,
            "failed requests or wrong answers": 0,
            "server memory in MB after swap": {
                str(number): round(report.memory[number - 1]) for number in (1, 10, 20, 30, 40, 50)
            },
        },
    )
    assert report.memory[49] - report.memory[9] < ALLOWED_GROWTH_MEGABYTES
