"""The same definition, data and seed give the same model, whatever runs the nodes.

Airflow and Kubeflow are compared with the local run in their own soak tests.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration import launch
from orchestration.compiler import compile_pipeline
from orchestration.freshness import Orchestrator, origin_of
from orchestration.ir import write_ir
from pipeline.settings.load import load_config
from pipeline.settings.paths import ROOT
from runs import executions
from runs.rebuild import result_from_metadata
from tests.conftest import SmokeRun

pytestmark = pytest.mark.integration

IN_A_PROCESS_EACH = ("Trainer", "Evaluator")


def weights(workdir: Path) -> str:
    (variables,) = workdir.glob("pipeline_root/Trainer/model/*/Format-Serving/variables/*.data*")
    return hashlib.sha256(variables.read_bytes()).hexdigest()


def test_nodes_in_processes_of_their_own_give_the_model_of_a_local_run(
    smoke_run: SmokeRun, tmp_path: Path
) -> None:
    # What comes before Trainer is taken from the local run's cache.
    workdir, ir_path = tmp_path / "var", tmp_path / "pipeline.ir.json"
    workdir.mkdir()
    shutil.copy(smoke_run.workdir / "metadata.sqlite", workdir)
    config = load_config("smoke", workdir=workdir, infra_validation__model_server="embedded")
    ir = compile_pipeline(config)
    origin = origin_of(config, Orchestrator.AIRFLOW, executions.node_ids(ir), None)
    write_ir(ir, ir_path, origin.model_dump(mode="json"))
    run = executions.with_run_id(ir, "other")
    ids = executions.node_ids(ir)
    for node_id in ids[: ids.index("Trainer")]:
        launch.run_node(run, node_id)
    for node_id in IN_A_PROCESS_EACH:
        command = [sys.executable, "-m", "orchestration.node"]
        command += [str(ir_path), "other", node_id]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    assert weights(workdir) == weights(smoke_run.workdir)
    other, local = result_from_metadata(ir, "other"), smoke_run.result
    assert other.accuracy == local.accuracy
    assert {label: quality.recall for label, quality in other.classes.items()} == {
        label: quality.recall for label, quality in local.classes.items()
    }
