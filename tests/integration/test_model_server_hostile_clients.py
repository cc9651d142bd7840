"""Hostile clients: good ones beside them are answered, and memory stays bounded."""

import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from tests.integration import chaos, hostile_clients
from tests.integration.conftest import ModelServerProcess, model_server_process
from tests.integration.soak_results import write_result

SECONDS_OF_EACH = 2
SECONDS_OF_ALL = 45

MEMORY_MEGABYTES = 128
CONNECTIONS = 300
# What a connection may hold without asking (see docs/model_server.md).
KILOBYTES_OF_A_CONNECTION = 256
# TensorFlow's and the allocator's own, gRPC's messages, and what threads hold in between.
ALLOWANCE_MEGABYTES = 400


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServerProcess]:
    # Imports TensorFlow, which takes longer than a client is let loose.
    import tensorflow_serving.apis.predict_pb2  # noqa: F401

    folder = tmp_path_factory.mktemp("hostile")
    base_path, config_file = folder / "good", folder / "models.config"
    base_path.mkdir()
    new_arena(None, folder).publish_good(1)
    monitoring = folder / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    with model_server_process(
        folder,
        *chaos.start_flags(base_path, config_file),
        f"--monitoring_config_file={monitoring}",
        f"--rest_api_max_memory_bytes={MEMORY_MEGABYTES << 20}",
        f"--rest_api_max_connections={CONNECTIONS}",
        "--rest_api_timeout_in_ms=10000",
        "--grpc_max_threads=32",
    ) as server:
        yield server


def new_arena(server: ModelServerProcess | None, folder: Path) -> chaos.Arena:
    arena = chaos.Arena(server, folder / "good", folder / "models.config", random.Random(14))
    arena.good_versions.add(1)
    return arena


def check(arena: chaos.Arena) -> None:
    log = arena.server.log.read_text()
    assert not arena.findings, "\n".join(arena.findings) + f"\n{log[-8000:]}"
    assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:5000]
    assert arena.counts["REST requests"] > 0
    assert arena.counts["gRPC requests"] > 0


@pytest.mark.integration
@pytest.mark.parametrize(
    "kind", hostile_clients.HOSTILE_CLIENTS, ids=lambda kind: str(kind.__name__)
)
def test_good_clients_are_answered_beside_hostile_ones(
    server: ModelServerProcess, kind: chaos.Disturbance
) -> None:
    arena = new_arena(server, server.log.parent)
    chaos.run(arena, [kind], SECONDS_OF_EACH)
    check(arena)
    assert arena.counts[kind.__name__] > 0


@pytest.mark.integration
def test_memory_is_bounded_whatever_all_of_them_do_at_once(server: ModelServerProcess) -> None:
    check_memory(server, SECONDS_OF_ALL)


def check_memory(server: ModelServerProcess, seconds: float) -> dict[str, object]:
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss / 2**20
    arena = new_arena(server, server.log.parent)
    kinds = [
        hostile_clients.slow_writers_of_large_bodies,
        hostile_clients.readers_that_never_read,
        hostile_clients.gzip_bombs,
        hostile_clients.single_byte_chunks,
        hostile_clients.flooding_names,
        hostile_clients.huge,
    ]
    chaos.run(arena, kinds, seconds)
    check(arena)
    bound = MEMORY_MEGABYTES + CONNECTIONS * KILOBYTES_OF_A_CONNECTION / 1024 + ALLOWANCE_MEGABYTES
    more = max(arena.memory_megabytes) - before
    assert more < bound, arena.memory_megabytes
    return {
        "seconds": seconds,
        "more memory, MB": round(more),
        "counts": dict(sorted(arena.counts.items())),
    }


@pytest.mark.soak
def test_memory_stays_bounded_for_ten_minutes(server: ModelServerProcess) -> None:
    write_result("model_server_memory", check_memory(server, 600))


@pytest.mark.integration
def test_nothing_is_left_of_them(server: ModelServerProcess) -> None:
    """Handles are closed, and the metrics do not remember what clients invented."""
    process = psutil.Process(server.process.pid)
    deadline = time.monotonic() + 60
    while process.num_fds() > 100 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert process.num_fds() <= 100
    page = requests.get(f"{server.url}/monitoring/prometheus/metrics", timeout=60).text
    names = set(re.findall(r'request_count\{model_name="([^"]*)"', page))
    assert names <= {"", chaos.MODEL, "(unknown)"}
