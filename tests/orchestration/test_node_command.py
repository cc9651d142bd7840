"""The command that runs one node: what it says and how it exits."""

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from files import lock
from orchestration import launch, node
from orchestration.freshness import Orchestrator, origin_of
from orchestration.terminal import Terminal
from pipeline.settings.load import load_config
from pipeline.settings.paths import ROOT
from runs import executions, rebuild
from runs.exit_status import Status
from runs.result import RunResult


@pytest.fixture
def ir_path(tmp_path: Path) -> Path:
    origin = origin_of(load_config("smoke"), Orchestrator.AIRFLOW, ["Trainer"])
    root = {"defaultValue": {"stringValue": str(tmp_path / "var" / "pipeline_root")}}
    ir = {
        "runtimeSpec": {"pipelineRoot": {"runtimeParameter": root}},
        "nodes": [{"pipelineNode": {"nodeInfo": {"id": "Trainer"}}}],
        "compiledFrom": origin.model_dump(mode="json"),
    }
    path = tmp_path / "small.ir.json"
    path.write_text(json.dumps(ir))
    return path


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "orchestration.node", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    process = start(*arguments)
    stdout, stderr = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def test_an_unknown_node_is_bad_usage(ir_path: Path) -> None:
    done = run(ir_path, "monday", "Trianer")
    assert done.returncode == 2
    assert done.stderr == "the pipeline has no node Trianer; it has Trainer\n"


def test_a_file_that_is_missing_is_bad_usage(tmp_path: Path) -> None:
    done = run(tmp_path / "missing.json", "monday", "Trainer")
    assert done.returncode == 2
    assert "missing.json is not a compiled pipeline (No such file or directory)" in done.stderr


@pytest.mark.parametrize("kind", ["Trainer", "run"])
def test_a_node_waits_for_an_earlier_attempt_and_for_a_local_run(
    kind: str, ir_path: Path, tmp_path: Path
) -> None:
    with lock.exclusive(tmp_path / "var", kind):
        process = start(ir_path, "monday", "Trainer")
        assert process.stderr is not None
        said = process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate()
    assert f"another {kind} (process" in said
    assert "waiting for its end" in said
    assert process.returncode == 130
    assert rest.startswith("interrupted")


@pytest.mark.parametrize("fail_when_refused", [False, True])
def test_pusher_exits_as_the_run_that_refused_the_model(
    ir_path: Path,
    fail_when_refused: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ir_path.write_text(ir_path.read_text().replace('"id": "Trainer"', '"id": "Pusher"'))
    refused = RunResult(run_id="monday", started_at=datetime.now(UTC))
    refused.finish(Status.NOT_BLESSED, ["accuracy is 0.5, required is at least 0.9"])

    def pushed(*_: object) -> executions.NodeOutcome:
        if fail_when_refused:
            raise PermissionError("not pushed")
        return executions.NodeOutcome(cached=False, outputs={})

    monkeypatch.setattr(launch, "run_node", pushed)
    monkeypatch.setattr(executions, "with_run_id", lambda ir, *_: ir)
    monkeypatch.setattr(rebuild, "result_from_metadata", lambda *_: refused)
    monkeypatch.setattr(node, "read_ir", lambda _: None)
    # Descriptors that were sent to a file once stay there; pytest needs its own.
    monkeypatch.setattr(node, "redirect_to", lambda _: Terminal(sys.stdout, sys.stderr))
    handler = signal.getsignal(signal.SIGTERM)
    try:
        assert node.main([str(ir_path), "monday", "Pusher"]) == Status.NOT_BLESSED.exit_code
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert capsys.readouterr().err.splitlines()[-1] == refused.reasons[0]
