"""A model server under load while everything around it goes wrong.

An `Arena` is one running server with good clients over gRPC and REST. A disturbance takes the arena
and does one bad thing, again and again from a thread of its own; what it notes with
`arena.found(...)`, or raises, is a finding, as is any answer to a good client that is wrong or
late. `chaos_versions.py` has the disturbances of versions and configs, `hostile_clients.py` those
of clients; `test_model_server_chaos.py` lets them loose together.
"""

import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psutil
import requests

CONFORMANCE = Path(__file__).parents[1] / "serving" / "conformance"
GOOD_MODEL = CONFORMANCE / "models" / "half_plus" / "1"

MODEL = "good"
CLIENT_TIMEOUT_SECONDS = 20
# Between two requests of a good client: the load is steady, not all that the machine can bear.
CLIENT_PAUSE_SECONDS = 0.005
MOST_FINDINGS = 20


@dataclass
class Arena:
    """One server, what it serves, and what was found so far.

    `good_versions` are all versions of the model `good` that may answer.
    """

    server: Any
    base_path: Path
    config_file: Path
    random: random.Random
    good_versions: set[int] = field(default_factory=set)
    stopping: threading.Event = field(default_factory=threading.Event)
    findings: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    memory_megabytes: list[float] = field(default_factory=list)

    def found(self, text: str) -> None:
        """Notes that something was not as it must be."""
        self.findings.append(text)
        if len(self.findings) >= MOST_FINDINGS:
            self.stopping.set()

    def publish_good(self, version: int) -> None:
        """Makes a sound version appear by one rename. All of them answer x / 2 + 2."""
        staging = self.base_path / ".staging"
        shutil.copytree(GOOD_MODEL, staging)
        self.good_versions.add(version)
        staging.rename(self.base_path / str(version))

    def states(self) -> dict[int, tuple[str, str]]:
        """State and error text of each version of the good model."""
        answer = requests.get(f"{self.server.url}/v1/models/{MODEL}", timeout=30)
        return {
            int(item["version"]): (item["state"], item["status"]["error_message"])
            for item in answer.json().get("model_version_status", [])
        }


Disturbance = Callable[[Arena], None]


def start_flags(base_path: Path, config_file: Path) -> list[str]:
    """The flags of the arena's server; the config file is written."""
    config_file.write_text(good_config(base_path))
    return [
        f"--model_config_file={config_file}",
        "--model_config_file_poll_wait_seconds=1",
        "--file_system_poll_wait_seconds=1",
        "--max_num_load_retries=0",
        "--grpc_max_threads=32",
        f"--rest_api_max_memory_bytes={256 << 20}",
        "--enable_grpc_healthcheck_service",
    ]


def good_config(base_path: Path, more: str = "") -> str:
    """A text-format ModelServerConfig with the good model, and `more` models."""
    return (
        f'model_config_list {{ config {{ name: "{MODEL}" base_path: "{base_path}" '
        f'model_platform: "tensorflow" }} {more} }}'
    )


def run(arena: Arena, disturbances: Sequence[Disturbance], seconds: float) -> None:
    """Lets the disturbances loose for `seconds` while good clients ask; fills the arena's notes."""
    threads = [
        threading.Thread(target=_repeat, args=(arena, work), name=work.__name__, daemon=True)
        for work in [good_grpc_client, good_rest_client] * 2 + list(disturbances)
    ]
    for thread in threads:
        thread.start()
    process = psutil.Process(arena.server.process.pid)
    ending = time.monotonic() + seconds
    while time.monotonic() < ending and not arena.stopping.wait(0.5):
        if arena.server.process.poll() is not None:
            arena.found(f"the server ended with {arena.server.process.returncode}")
            break
        arena.memory_megabytes.append(process.memory_info().rss / 2**20)
    arena.stopping.set()
    for thread in threads:
        thread.join(60)
        if thread.is_alive():
            arena.found(f"{thread.name} hangs")


def _repeat(arena: Arena, work: Disturbance) -> None:
    while not arena.stopping.is_set():
        try:
            work(arena)
            arena.counts[work.__name__] += 1
        except Exception as error:
            arena.found(f"{work.__name__}: {type(error).__name__}: {error}")


def good_rest_client(arena: Arena) -> None:
    with requests.Session() as session:
        while not arena.stopping.wait(CLIENT_PAUSE_SECONDS):
            answer = session.post(
                f"{arena.server.url}/v1/models/{MODEL}:predict",
                json={"instances": [1.0, 2.0]},
                timeout=CLIENT_TIMEOUT_SECONDS,
            )
            if answer.status_code != 200 or answer.json() != {"predictions": [2.5, 3.0]}:
                arena.found(f"REST client: {answer.status_code} {answer.text[:200]}")
            arena.counts["REST requests"] += 1


def good_grpc_client(arena: Arena) -> None:
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    request = predict_pb2.PredictRequest()
    request.model_spec.name = MODEL
    request.inputs["x"].dtype = 1
    request.inputs["x"].tensor_shape.dim.add(size=1)
    request.inputs["x"].float_val.append(1)
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(arena.server.address, options=options) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        while not arena.stopping.wait(CLIENT_PAUSE_SECONDS):
            answer = stub.Predict(request, timeout=CLIENT_TIMEOUT_SECONDS)
            version, [value] = answer.model_spec.version.value, answer.outputs["y"].float_val
            if value != 2.5 or version not in arena.good_versions:
                arena.found(f"gRPC client: version {version} answered {value}")
            arena.counts["gRPC requests"] += 1
