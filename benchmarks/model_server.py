"""Throughput and latency of the embedded model server, against the same calls in-process.

`python -m benchmarks.model_server [--output FILE.md]` starts the server with the recorded models,
without and with batching, and asks it over gRPC and REST: one image and 32, from 1, 4 and 16
clients. Every number comes with the cost of calling the signature in this process, measured in the
same run, because absolute times say little about another machine. Clients and server share the
machine's cores, as they did where the goals were set.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serving.launch.base import free_ports

REPOSITORY = Path(__file__).parents[1]
CONFORMANCE = REPOSITORY / "tests" / "serving" / "conformance"
CLIENT_COUNTS = (1, 4, 16)
WARMUP_SECONDS = 0.5

BATCHING = """
max_batch_size { value: 128 }
batch_timeout_micros { value: 0 }
max_enqueued_batches { value: 1000000 }
num_batch_threads { value: 2 }
"""


@dataclass(frozen=True)
class Workload:
    """One kind of request: its name, its bytes for either API, and the call in-process.

    `images` is how many examples a request carries.
    """

    name: str
    images: int
    grpc_method: str
    grpc_request: bytes
    rest_path: str
    rest_body: bytes
    call: Callable[[], Any]


@dataclass(frozen=True)
class Result:
    """Requests per second, and latencies in microseconds."""

    rate: float
    p50: float
    p99: float


def summarize(latencies: Sequence[float], seconds: float) -> Result:
    """`latencies` in seconds, of all clients together."""
    ordered = sorted(latencies)
    return Result(
        rate=len(ordered) / seconds,
        p50=statistics.median(ordered) * 1e6,
        p99=ordered[int(len(ordered) * 0.99)] * 1e6,
    )


def measure_call(call: Callable[[], Any], seconds: float) -> Result:
    """A function called over and over in this thread."""
    latencies = []
    started = time.perf_counter()
    while (now := time.perf_counter()) - started < seconds:
        call()
        latencies.append(time.perf_counter() - now)
    return summarize(latencies, time.perf_counter() - started)


def measure_grpc(port: int, method: str, request: bytes, clients: int, seconds: float) -> Result:
    """`clients` threads, each with a connection of its own, one call at a time."""
    import grpc

    latencies: list[list[float]] = [[] for _ in range(clients)]
    begin = time.perf_counter() + WARMUP_SECONDS
    end = begin + seconds

    def ask(mine: list[float]) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
            call = channel.unary_unary(method)
            while (now := time.perf_counter()) < end:
                call(request)
                if now >= begin:
                    mine.append(time.perf_counter() - now)

    threads = [threading.Thread(target=ask, args=(mine,)) for mine in latencies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return summarize([item for mine in latencies for item in mine], seconds)


class _HttpClient(asyncio.Protocol):
    """Sends one prepared request again and again; costs little, so the server is what is timed."""

    def __init__(self, request: bytes, begin: float, end: float, latencies: list[float]) -> None:
        self._request = request
        self._begin = begin
        self._end = end
        self._latencies = latencies
        self._received = b""
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) < length:
            return
        if b" 200 " not in head[:20]:
            self.closed.set_exception(RuntimeError(self._received.decode(errors="replace")))
            self._transport.close()
            return
        self._received = b""
        now = time.perf_counter()
        if self._sent >= self._begin:
            self._latencies.append(now - self._sent)
        if now < self._end:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)


def measure_rest(port: int, path: str, body: bytes, clients: int, seconds: float) -> Result:
    """`clients` connections, one request at a time on each."""
    import uvloop

    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    latencies: list[float] = []

    async def ask(begin: float) -> None:
        # A proxy closes a connection after so many requests.
        while time.perf_counter() < begin + seconds:
            _, protocol = await asyncio.get_running_loop().create_connection(
                lambda: _HttpClient(head.encode() + body, begin, begin + seconds, latencies),
                "127.0.0.1",
                port,
            )
            await protocol.closed

    async def ask_all() -> None:
        begin = time.perf_counter() + WARMUP_SECONDS
        await asyncio.gather(*(ask(begin) for _ in range(clients)))

    uvloop.run(ask_all())
    return summarize(latencies, seconds)


def workloads() -> list[Workload]:
    """`half_plus` with one number, and classifying one PNG and 32 with `fashion`."""
    import numpy as np
    from tensorflow.core.protobuf import config_pb2
    from tensorflow_serving.apis import classification_pb2, predict_pb2

    from serving.model_server.loader import LoaderOptions, SavedModelLoader
    from serving.model_server.metrics import Metrics

    options = LoaderOptions(config_pb2.ConfigProto(inter_op_parallelism_threads=-1))
    loader = SavedModelLoader(options, Metrics())
    half_plus = loader.load("half_plus", 2, CONFORMANCE / "models" / "half_plus" / "2")
    fashion = loader.load("fashion", 7, CONFORMANCE / "models" / "fashion" / "7")

    predict = predict_pb2.PredictRequest()
    predict.model_spec.name = "half_plus"
    predict.inputs["x"].dtype = 1
    predict.inputs["x"].tensor_shape.dim.add(size=1)
    predict.inputs["x"].float_val.append(1.0)
    number = np.ones([1], np.float32)
    items = [
        Workload(
            "half_plus predict",
            1,
            "/tensorflow.serving.PredictionService/Predict",
            predict.SerializeToString(),
            "/v1/models/half_plus:predict",
            json.dumps({"instances": [1.0]}).encode(),
            lambda: half_plus.predict("", {"x": number}),
        )
    ]
    example = _recorded_example()
    image = example.features.feature["image"].bytes_list.value[0]
    for images in (1, 32):
        classify = classification_pb2.ClassificationRequest()
        classify.model_spec.name = "fashion"
        classify.input.example_list.examples.extend([example] * images)
        serialized = [example.SerializeToString()] * images
        encoded = {"image": {"b64": base64.b64encode(image).decode()}}
        items.append(
            Workload(
                "fashion classify",
                images,
                "/tensorflow.serving.PredictionService/Classify",
                classify.SerializeToString(),
                "/v1/models/fashion:classify",
                json.dumps({"examples": [encoded] * images}).encode(),
                lambda serialized=serialized: fashion.classify("", serialized),  # type: ignore[misc]
            )
        )
    return items


def _recorded_example() -> Any:
    """The first tf.Example (one 28x28 PNG) of the recorded classification."""
    from tensorflow_serving.apis import classification_pb2

    exchanges = json.loads((CONFORMANCE / "exchanges.json").read_text())
    [recorded] = [item for item in exchanges if item["id"] == "grpc_classify_fashion"]
    request = classification_pb2.ClassificationRequest.FromString(
        base64.b64decode(recorded["request_base64"])
    )
    return request.input.example_list.examples[0]


@dataclass(frozen=True)
class RunningServer:
    """Ports on 127.0.0.1, and the seconds from start to AVAILABLE."""

    grpc_port: int
    rest_port: int
    start_seconds: float


@contextmanager
def server(folder: Path, *flags: str, checkout: Path = REPOSITORY) -> Iterator[RunningServer]:
    """A server with the recorded models, of a checkout of this project."""
    models = CONFORMANCE / "models"
    config = folder / "models.config"
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{models}/{name}" model_platform: "tensorflow" }} '
        for name in ("half_plus", "fashion")
    )
    config.write_text(f"model_config_list {{ {entries} }}")
    port, rest_port = free_ports(2)
    command = [sys.executable, "-m", "serving.model_server", f"--model_config_file={config}"]
    command += [f"--port={port}", f"--rest_api_port={rest_port}", *flags]
    started = time.perf_counter()
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=checkout, stdout=log, stderr=log)
    try:
        while True:
            if process.poll() is not None:
                raise RuntimeError((folder / "server.log").read_text())
            try:
                socket.create_connection(("127.0.0.1", rest_port)).close()
                break
            except OSError:
                time.sleep(0.02)
        yield RunningServer(port, rest_port, time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait()


def revision(checkout: Path = REPOSITORY) -> str:
    """The revision of a checkout of this project."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(
        command, cwd=checkout, capture_output=True, text=True, check=True
    ).stdout.strip()


def _start_up() -> str:
    """Start to AVAILABLE of the server, against importing TensorFlow; the better of two each."""
    imports, starts = [], []
    for _ in range(2):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import tensorflow"], check=True, capture_output=True)
        imports.append(time.perf_counter() - started)
        with tempfile.TemporaryDirectory() as name, server(Path(name)) as running:
            starts.append(running.start_seconds)
    return (
        f"Start to AVAILABLE: {min(starts):.1f} s; "
        f"`python -c 'import tensorflow'`: {min(imports):.1f} s."
    )


def _row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def report(seconds: float) -> Iterator[str]:
    """The lines of a Markdown report; each measurement takes `seconds`."""
    items = workloads()
    yield "# The embedded model server against the same calls in-process"
    yield ""
    yield (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, revision {revision()}, "
        f"{os.cpu_count()} cores ({platform.machine()}), load average before "
        f"{os.getloadavg()[0]:.1f}, {seconds:g} s a measurement. Latencies in microseconds; "
        "`ratio` is p50 over the in-process p50 of the same request."
    )
    yield ""
    yield _start_up()
    yield ""
    yield _row(
        "API", "request", "images", "clients", "batching", "requests/s", "p50", "p99", "ratio"
    )
    yield _row(*["---"] * 9)
    calls = {}
    for item in items:
        result = calls[item] = measure_call(item.call, seconds)
        yield _line("in-process", item, 1, "", result, result)
    for batching in ("off", "on"):
        yield from _served(items, calls, batching, seconds)


def _served(
    items: Sequence[Workload], calls: dict[Workload, Result], batching: str, seconds: float
) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as name:
        parameters = Path(name) / "batching.config"
        parameters.write_text(BATCHING)
        flags = ["--enable_grpc_healthcheck_service", "--grpc_max_threads=32"]
        if batching == "on":
            flags += ["--enable_batching", f"--batching_parameters_file={parameters}"]
        with server(Path(name), *flags) as running:
            port, rest_port = running.grpc_port, running.rest_port
            empty = measure_grpc(port, "/grpc.health.v1.Health/Check", b"", 1, seconds)
            yield _row("gRPC", "empty call", "", 1, batching, *_numbers(empty), "")
            for item in items:
                for clients in CLIENT_COUNTS:
                    grpc_result = measure_grpc(
                        port, item.grpc_method, item.grpc_request, clients, seconds
                    )
                    yield _line("gRPC", item, clients, batching, grpc_result, calls[item])
                    rest_result = measure_rest(
                        rest_port, item.rest_path, item.rest_body, clients, seconds
                    )
                    yield _line("REST", item, clients, batching, rest_result, calls[item])


def _numbers(result: Result) -> tuple[str, str, str]:
    return f"{result.rate:,.0f}", f"{result.p50:,.0f}", f"{result.p99:,.0f}"


def _line(
    api: str, item: Workload, clients: int, batching: str, result: Result, call: Result
) -> str:
    ratio = f"{result.p50 / call.p50:.1f}"
    return _row(api, item.name, item.images, clients, batching, *_numbers(result), ratio)


def main() -> None:
    """Prints the report as it is measured, and writes it to --output if given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each measurement")
    parser.add_argument("--output", type=Path, help="Markdown file to write the report to")
    arguments = parser.parse_args()
    lines = []
    for line in report(arguments.seconds):
        print(line, flush=True)
        lines.append(line)
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
