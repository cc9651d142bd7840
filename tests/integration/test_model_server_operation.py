"""Operation: start-up, refusals with their exit codes, signals, the polled model config file."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests

from tests.integration.conftest import few_files

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[2]
MODELS = REPOSITORY / "tests" / "serving" / "conformance" / "models"
EXIT_FAILED = 255


@pytest.fixture(scope="module")
def counting_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that counts up to its input, so that a request takes as long as it is told to."""
    import tensorflow as tf

    class Counting(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, "limit")])
        def count(self, limit: tf.Tensor) -> dict[str, tf.Tensor]:
            reached = tf.while_loop(
                lambda number: tf.reduce_any(number < limit),
                lambda number: (number + 1,),
                (tf.zeros_like(limit),),
            )
            return {"reached": reached[0]}

    module = Counting()
    base = tmp_path_factory.mktemp("counting")
    tf.saved_model.save(module, str(base / "1"), signatures=module.count)
    return base


@pytest.fixture(scope="module")
def gated_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that notes who asks, as a file `asked-<limit>`, and answers once there is `open`."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("gated")

    def is_open(turn: tf.Tensor) -> tf.Tensor:
        # What depends on no turn is looked up once and for all.
        nothing = tf.strings.substr(tf.strings.as_string(turn), 0, 0)
        pattern = tf.strings.join([str(folder / "open"), nothing])
        return tf.size(tf.raw_ops.MatchingFiles(pattern=pattern)) > 0

    class Gated(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, "limit")])
        def wait(self, limit: tf.Tensor) -> dict[str, tf.Tensor]:
            asked = tf.strings.join([str(folder / "asked-"), tf.strings.as_string(limit[0])])
            with tf.control_dependencies([tf.io.write_file(asked, "")]):
                turns = tf.while_loop(
                    lambda turn: tf.logical_not(is_open(turn)),
                    lambda turn: (turn + 1,),
                    (tf.constant(0, tf.int64),),
                )
            return {"reached": limit + 0 * turns[0]}

    module = Gated()
    tf.saved_model.save(module, str(folder / "1"), signatures=module.wait)
    return folder


def log_lines(server: Any, text: str) -> list[str]:
    return [line for line in server.log.read_text().splitlines() if text in line]


def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def count(server: Any, limit: int) -> requests.Response:
    return requests.post(
        f"{server.url}/v1/models/counting:predict", json={"instances": [limit]}, timeout=120
    )


def grpc_count(server: Any, limit: int, timeout: float = 120) -> int:
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "counting"
    request.inputs["limit"].dtype = 9
    request.inputs["limit"].tensor_shape.dim.add(size=1)
    request.inputs["limit"].int64_val.append(limit)
    with grpc.insecure_channel(server.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        answer = stub.Predict(request, timeout=timeout)
    return int(answer.outputs["reached"].int64_val[0])


def test_sigterm_answers_requests_in_flight_then_ends(
    start_model_server: Any, gated_model: Path
) -> None:
    server = start_model_server("--model_name=counting", f"--model_base_path={gated_model}")
    with ThreadPoolExecutor(2) as pool:
        over_rest = pool.submit(count, server, 3)
        over_grpc = pool.submit(grpc_count, server, 4)
        eventually(lambda: all((gated_model / f"asked-{number}").exists() for number in (3, 4)))
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: bool(log_lines(server, "stopping: answering the requests in flight")))
        assert not over_rest.done()
        assert not over_grpc.done()
        (gated_model / "open").touch()
        assert server.process.wait(60) == -signal.SIGTERM
        assert over_rest.result().json() == {"predictions": [3]}
        assert over_grpc.result() == 4
    with pytest.raises(requests.ConnectionError):
        count(server, 1)


def test_a_model_that_cannot_be_loaded_ends_the_start(
    start_model_server: Any, tmp_path: Path
) -> None:
    (tmp_path / "bad" / "1").mkdir(parents=True)
    server = start_model_server(
        "--model_name=bad",
        f"--model_base_path={tmp_path}/bad",
        "--max_num_load_retries=0",
        wait=False,
    )
    assert server.process.wait(120) == EXIT_FAILED
    [line] = log_lines(server, "Failed to start server. Error: ")
    assert "1 servable(s) did not become available: {{{name: bad version: 1} due to" in line


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "Both server_options.model_base_path and server_options.model_config_file"),
        (["--model_base_path=/m", "--prefer_tflite_model"], "--prefer_tflite_model is refused"),
    ],
)
def test_a_wrong_command_line_is_refused_at_once(flags: list[str], message: str) -> None:
    ending = subprocess.run(
        [sys.executable, "-m", "serving.model_server", *flags],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ending.returncode == EXIT_FAILED
    assert message in ending.stdout + ending.stderr


def test_the_model_config_file_is_polled(start_model_server: Any, tmp_path: Path) -> None:
    file = tmp_path / "models.config"

    def configure(name: str, more: str = "") -> None:
        new = file.with_suffix(".new")
        new.write_text(
            f'model_config_list {{ config {{ name: "{name}" base_path: "{MODELS}/half_plus" '
            f'model_platform: "tensorflow" {more} }} }}'
        )
        new.rename(file)

    configure("first")
    server = start_model_server(
        f"--model_config_file={file}",
        "--model_config_file_poll_wait_seconds=1",
        "--enable_batching",
    )

    def predict(path: str) -> requests.Response:
        return requests.post(
            f"{server.url}/v1/models/{path}:predict", json={"instances": [1.0]}, timeout=60
        )

    assert predict("first").json() == {"predictions": [3.5]}
    configure("second")
    eventually(lambda: predict("second").ok)
    eventually(lambda: predict("first").status_code == 404)
    configure("second", 'version_labels { key: "stable" value: 2 }')
    eventually(lambda: predict("second/labels/stable").ok)
    file.write_text("model_config_list { nonsense }")
    eventually(lambda: bool(log_lines(server, "model config file not taken over")))
    assert predict("second").ok


def test_sigterm_ends_a_server_that_still_tries_to_load_its_model(
    start_model_server: Any, tmp_path: Path
) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    server = start_model_server("--model_name=m", f"--model_base_path={tmp_path}/m", wait=False)
    eventually(lambda: bool(log_lines(server, "attempt 1 of 6 to load failed, next in 60 s")), 120)
    assert server.stop() == -signal.SIGTERM


def test_a_call_past_its_deadline_gives_its_place_back(
    start_model_server: Any, counting_model: Path
) -> None:
    server = start_model_server(
        "--model_name=counting", f"--model_base_path={counting_model}", "--grpc_max_threads=1"
    )
    for _ in range(3):
        assert grpc_count(server, 3) == 3
    with pytest.raises(grpc.RpcError) as refusal:
        grpc_count(server, 2**62, timeout=0.5)
    assert refusal.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    eventually(lambda: answers(lambda: grpc_count(server, 3) == 3))


def answers(call: Callable[[], bool]) -> bool:
    try:
        return call()
    except grpc.RpcError:
        return False


def test_reloads_have_an_address_of_their_own(start_model_server: Any) -> None:
    from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    server = start_model_server(
        "--model_name=m",
        f"--model_base_path={MODELS}/half_plus",
        f"--reload_config_address={address}",
    )
    request = model_management_pb2.ReloadConfigRequest()
    request.config.model_config_list.config.add(
        name="m", base_path=f"{MODELS}/half_plus", model_platform="tensorflow"
    )
    with grpc.insecure_channel(server.address) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refusal:
            stub.HandleReloadConfigRequest(request, timeout=60)
        assert refusal.value.code() == grpc.StatusCode.PERMISSION_DENIED
    with grpc.insecure_channel(address) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        assert stub.HandleReloadConfigRequest(request, timeout=60).status.error_code == 0


def test_a_server_that_never_looks_for_versions_starts_all_the_same(
    start_model_server: Any,
) -> None:
    server = start_model_server(
        "--model_name=m",
        f"--model_base_path={MODELS}/half_plus",
        "--file_system_poll_wait_seconds=-1",
        "--enable_grpc_healthcheck_service",
    )
    assert requests.get(f"{server.url}/v1/models/m", timeout=60).status_code == 404
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=60)
    assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_connections_that_lie_idle_keep_nobody_out(start_model_server: Callable[..., Any]) -> None:
    with ExitStack() as stack:
        with few_files(256):
            server = start_model_server(f"--model_base_path={MODELS / 'half_plus'}")
        for _ in range(400):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
        assert requests.get(f"{server.url}/v1/models/default", timeout=60).ok
