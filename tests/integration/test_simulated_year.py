"""Accidents of all kinds: good data is trained on, bad data left out, the server never fails."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.simulated_year.plan import Accident, ten_days
from pipeline.settings.paths import ROOT

_DAYS = 365


def live_through(*arguments: str, output: Path) -> dict[str, Any]:
    """Runs the simulation, which says on standard output what is not as it must be."""
    command = [sys.executable, "-m", "benchmarks.simulated_year", *arguments]
    done = subprocess.run(
        [*command, "--output", str(output)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-5000:]}"
    year: dict[str, Any] = json.loads(output.read_text())
    return year


@pytest.mark.integration
@pytest.mark.timeout(1800)
def test_ten_days_with_each_accident_once(tmp_path: Path) -> None:
    assert {accident for day in ten_days() for accident in day.accidents} == set(Accident)
    year = live_through("--days", "0", "--sample", output=tmp_path / "year.json")
    assert year["problems"] == []
    assert year["quarantined"] == 3
    assert year["rolled_back"] == 1
    assert year["failed"] == 0
    assert min(year["answered"].values()) > 100


@pytest.mark.soak
@pytest.mark.timeout(24 * 3600)
def test_a_year(tmp_path: Path, record_result: Callable[[str, dict[str, object]], None]) -> None:
    year = live_through("--days", str(_DAYS), output=tmp_path / "year.json")
    record_result("simulated_year", year)
    happened = {accident for day in year["days"] for accident in day["accidents"]}
    assert happened == set(Accident)
    assert min(year["answered"].values()) > 10_000
