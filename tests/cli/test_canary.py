"""`models canary --watch`: how it ends, and with which code."""

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.models import app
from pipeline.settings.load import load_config
from serving.edge.canary import Trial
from serving.versions.publish import publish
from serving.versions.record import Pushed
from serving.versions.store import VersionStore


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trial:
    """Two versions, the newer on trial."""
    monkeypatch.setattr("serving.versions.settling.SETTLE_SECONDS", 0.0)
    monkeypatch.setattr("serving.edge.canary._BLIND_SECONDS", 0.0)
    config = load_config(workdir=tmp_path / "var")
    trial = Trial(VersionStore(config.serving_dir), config.serving.model_name)
    versions = []
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").write_text(name)
        versions.append(publish(trial.store, tmp_path / name, Pushed()).version)
    trial.begin(versions[1], 10)
    config.edge_dir.mkdir()
    return trial


@pytest.mark.parametrize(("status", "code", "says"), [(200, 0, "promote: "), (500, 9, "abort: ")])
def test_it_judges_until_the_trial_has_ended(
    trial: Trial, tmp_path: Path, status: int, code: int, says: str
) -> None:
    seen = {"time": time.time() + 1, "model": trial.model_name, "seconds": 0.002, "id": "1"}
    with (tmp_path / "var" / "edge" / "access.log").open("w") as log:
        for variant, answer in (("stable", 200), ("canary", status)):
            line = seen | {"variant": variant, "status": answer, "server_seconds": "0.001"}
            log.write((json.dumps(line) + "\n") * 150)
    on_trial = trial.current()
    assert on_trial is not None
    arguments = ["canary", str(on_trial.version), "--percent", "20", "--watch"]
    arguments += ["--workdir", str(tmp_path / "var")]
    arguments += ["--set", "canary.min_requests=100", "--set", "canary.min_seconds=0"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == code, done.output
    assert done.stdout.startswith(says)
    assert f"version {on_trial.version} meets 20 %" in done.stderr
    assert trial.current() is None
