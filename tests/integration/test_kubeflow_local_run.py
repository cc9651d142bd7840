"""The compiled pipeline, executed node by node by kfp's own local runner until a model is pushed.

The entry module is tested on the first nodes, without kfp's runner, in `test_kubeflow_entry.py`.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import DockerException, ImageNotFound
from kfp import components, local
from kfp.local.subprocess_task_handler import SubprocessTaskHandler
from tfx.components.evaluator.constants import ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY

from orchestration.kubeflow.compiler import compile_kubeflow
from pipeline.evaluation import ACCURACY
from pipeline.fingerprint import NODES
from pipeline.settings.config import Config
from pipeline.settings.load import load_config
from pipeline.settings.paths import ROOT
from runs.exit_status import Status
from runs.result import results
from serving.versions.publish import PushStatus
from serving.versions.store import VersionStore
from tests.conftest import SmokeRun
from tests.integration.soak_results import write_result

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


def settings(tmp_path: Path) -> Config:
    workdir = tmp_path / "work"
    workdir.mkdir()
    return load_config(
        "smoke",
        overrides=[f"kubeflow.workdir={workdir}", "kubeflow.volume_claim=stands-for-it"],
        infra_validation__model_server="embedded",
    )


def test_as_processes_it_pushes_and_then_meets_its_own_baseline(
    smoke_run: SmokeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(tmp_path)
    package = compile_kubeflow(config, tmp_path, image_root=str(ROOT))
    # It would only take components that kfp's SDK has made from functions.
    monkeypatch.setattr(SubprocessTaskHandler, "validate_not_container_component", _accept)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.chdir(ROOT)
    runner = local.SubprocessRunner(use_venv=False)
    runs = [execute(package, tmp_path / name, runner) for name in ("first", "second")]
    newest, earlier = results(Path(config.kubeflow.workdir) / "runs")
    first, second = runs
    accuracy = record("kubeflow_local_run", config, runs)
    assert first["status"] == PushStatus.PUSHED
    assert second["status"] in (PushStatus.PUSHED, PushStatus.UP_TO_DATE)
    assert [run["nodes"] for run in runs] == [len(NODES)] * 2
    assert [run["compared_with_baseline"] for run in runs] == [False, True]
    assert accuracy == smoke_run.result.accuracy
    assert (earlier.status, earlier.accuracy) == (Status.PUSHED, accuracy)
    assert newest.baseline_version == earlier.version


def test_as_containers_of_the_image_it_pushes(tmp_path: Path) -> None:
    config = settings(tmp_path)
    try:
        client = docker.from_env(timeout=2)
        client.images.get(config.kubeflow.image)
    except ImageNotFound:
        pytest.skip(f"no image: docker build -t {config.kubeflow.image} .")
    except (DockerException, OSError) as error:
        pytest.skip(f"no Docker engine answers: {error}")
    package = compile_kubeflow(config, tmp_path)
    workdir = config.kubeflow.workdir
    mount = docker.types.Mount(target=workdir, source=workdir, type="bind")
    # The folders here are this user's, not those of the image's user.
    runner = local.DockerRunner(
        mounts=[mount], network_mode="none", user=f"{os.getuid()}:{os.getgid()}"
    )
    run = execute(package, tmp_path / "first", runner)
    record("kubeflow_local_run_docker", config, [run])
    assert run["status"] == PushStatus.PUSHED
    assert run["nodes"] == len(NODES)


def execute(package: Path, root: Path, runner: Any) -> dict[str, Any]:
    local.init(runner, pipeline_root=str(root))
    started = time.monotonic()
    components.load_component_from_file(str(package))()
    (run,) = root.iterdir()
    pushed = metadata(run, "Pusher", "pushed_model")
    return {
        "status": pushed["status"],
        "version": pushed["pushed_version"],
        "seconds": round(time.monotonic() - started),
        "nodes": len(list(run.iterdir())),
        "compared_with_baseline": ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY
        in metadata(run, "Evaluator", "blessing"),
    }


def metadata(run: Path, node: str, output: str) -> dict[str, Any]:
    produced = json.loads((run / node / "executor_output.json").read_text())
    (artifact,) = produced["artifacts"][output]["artifacts"]
    found: dict[str, Any] = artifact["metadata"]
    return found


def record(name: str, config: Config, runs: list[dict[str, Any]]) -> float:
    """Writes the result with the accuracy of the newest version, and returns that."""
    store = VersionStore(f"{config.kubeflow.workdir}/serving/{config.serving.model_name}")
    newest = store.newest_served()
    assert newest is not None
    assert newest.record is not None
    accuracy: float = newest.record.metrics["overall"][ACCURACY]
    write_result(name, {"image": config.kubeflow.image, "runs": runs, "accuracy": accuracy})
    return accuracy


def _accept(*_: object) -> None:
    """Stands for a check that refuses what this test is about."""
