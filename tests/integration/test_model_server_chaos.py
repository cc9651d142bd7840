"""The model server while everything around it goes wrong: good clients never notice."""

import random
from pathlib import Path
from typing import Any

import pytest

from tests.integration import chaos, chaos_versions, hostile_clients
from tests.integration.soak_results import write_result

SECONDS = 60
SOAK_SECONDS = 30 * 60

DISTURBANCES = [
    chaos_versions.broken_versions,
    chaos_versions.pushed_configs,
    chaos_versions.polled_configs,
]


@pytest.fixture
def arena(start_model_server: Any, tmp_path: Path) -> chaos.Arena:
    base_path, config_file = tmp_path / "good", tmp_path / "config" / "models.config"
    base_path.mkdir()
    config_file.parent.mkdir()
    arena = chaos.Arena(None, base_path, config_file, random.Random(14))
    arena.publish_good(1)
    arena.server = start_model_server(*chaos.start_flags(base_path, config_file))
    return arena


def check(arena: chaos.Arena) -> None:
    log = arena.server.log.read_text()
    assert not arena.findings, "\n".join(arena.findings) + f"\n{log[-8000:]}"
    assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:5000]
    for kind in chaos_versions.BREAKERS:
        assert arena.counts[f"broken version: {kind}"] > 0, kind
    assert arena.counts["gRPC requests"] > 0
    assert arena.counts["REST requests"] > 0


@pytest.mark.integration
def test_good_clients_are_answered_while_everything_goes_wrong(arena: chaos.Arena) -> None:
    chaos.run(arena, DISTURBANCES, SECONDS)
    check(arena)


@pytest.mark.soak
def test_good_clients_are_answered_for_half_an_hour(arena: chaos.Arena) -> None:
    clients = hostile_clients.HOSTILE_CLIENTS
    chaos.run(arena, [*DISTURBANCES, *clients], SOAK_SECONDS)
    assert all(arena.counts[client.__name__] > 0 for client in clients)
    write_result(
        "model_server_chaos",
        {
            "seconds": SOAK_SECONDS,
            "findings": arena.findings,
            "counts": dict(sorted(arena.counts.items())),
            "server memory in MB, highest": round(max(arena.memory_megabytes)),
        },
    )
    check(arena)
