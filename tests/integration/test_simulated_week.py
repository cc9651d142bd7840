"""New data every day: a bad day is refused, left out, and forgotten; the server never fails."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.simulated_week.plan import WEEK, Delivery
from benchmarks.simulated_week.supplier import Supplier
from data.quarantine import quarantine, quarantined, release
from orchestration.local import new_result, run_pipeline
from orchestration.progress import Progress
from pipeline.settings.config import Config
from pipeline.settings.load import load_config
from pipeline.settings.paths import ROOT
from runs.result import RunResult
from runs.status import Status
from serving.versions.store import VersionStore


def finished(config: Config) -> RunResult:
    result = new_result(config)
    with Progress(io.StringIO()) as progress:
        run_pipeline(config, result, progress)
    return result


@pytest.mark.integration
def test_a_span_that_misses_its_threshold_is_left_out_of_the_next_window(tmp_path: Path) -> None:
    supplier = Supplier(tmp_path / "data", deliveries=3)
    settings = tmp_path / "settings.toml"
    settings.write_text(
        f'preset = "smoke"\nworkdir = "{tmp_path}/var"\n'
        f'[data]\nroot = "{supplier.root}"\nwindow = 3\n'
        "[training]\nepochs = 20\nbatch_size = 16\n"
        '[infra_validation]\nmodel_server = "embedded"\n'
    )
    config = load_config(file=settings)

    supplier.bring(Delivery.SOUND, settings)
    first = finished(config)
    assert first.status is Status.PUSHED, first.reasons

    supplier.bring(Delivery.SHUFFLED, settings)
    refused = finished(config)
    assert (refused.status, refused.status.exit_code) == (Status.NOT_BLESSED, 3)
    assert refused.blamed_spans == [2]
    (reason,) = (reason for reason in refused.reasons if "span-2" in reason)
    assert reason.startswith("accuracy on the held-out part of span-2 is 0.")
    assert reason.endswith("required is at least 0.4000")
    assert reason in quarantined(supplier.root)[2].reason

    again = finished(config)
    assert (again.status, again.version, again.nodes) == (Status.UP_TO_DATE, first.version, [])

    release(supplier.root, 2)
    repeated = finished(config)
    assert (repeated.status, repeated.reasons) == (Status.NOT_BLESSED, refused.reasons)
    assert repeated.nodes == []
    quarantine(supplier.root, 2, reason)

    supplier.bring(Delivery.SOUND, settings)
    last = finished(config)
    assert last.status is Status.PUSHED, last.reasons
    assert last.baseline_version == first.version
    served = VersionStore(config.serving_dir).newest_served()
    assert served is not None
    assert served.record is not None
    assert served.record.spans == [1, 3]


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_the_week_ends_as_planned(
    tmp_path: Path, record_result: Callable[[str, dict[str, object]], None]
) -> None:
    command = [sys.executable, "-m", "benchmarks.simulated_week", "--json"]
    command += ["--workdir", str(tmp_path / "week")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-5000:]
    week = json.loads(done.stdout)
    record_result("simulated_week", week)
    assert [day["status"] for day in week["days"]] == [day.status for day in WEEK]
    assert week["failed"] == 0
    assert min(week["answered"].values()) > 100
