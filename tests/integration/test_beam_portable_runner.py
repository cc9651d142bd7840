"""The pipeline's code survives distribution: Beam's portable runner, job service and workers apart.

Nothing is shared with the pipeline's process but files: what the workers run reached them pickled.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.modeling.features import CLASS_COUNT, CLASS_LABELS
from pipeline.settings.paths import SAMPLE_DATA
from runs.exit_status import NodeState, Status
from runs.result import RunResult
from tests.conftest import ROOT, run_runner
from tests.integration.conftest import free_port

START_SECONDS = 120


@dataclass(frozen=True)
class BeamServices:
    """Where Beam's job service and worker pool listen, and what the pool has written."""

    job_endpoint: str
    worker_pool: str
    pool_log: Path


@pytest.fixture(scope="module")
def beam_services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BeamServices]:
    folder = tmp_path_factory.mktemp("beam")
    port_file, pool_log = folder / "port", folder / "pool.log"
    pool_port = free_port()
    job_service = ["apache_beam.runners.portability.local_job_service_main", "--port=0"]
    job_service += [f"--port_file={port_file}", f"--staging_dir={folder / 'staging'}"]
    worker = ROOT / "orchestration" / "beam_worker.py"
    worker_pool = ["apache_beam.runners.worker.worker_pool_main", f"--service_port={pool_port}"]
    worker_pool += [f"--container_executable={worker}"]
    python = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{python}{os.pathsep}{os.environ['PATH']}"}
    processes = []
    with pool_log.open("wb") as log:
        for arguments in (job_service, worker_pool):
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", *arguments],
                    cwd=folder,
                    env=environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (port_file.exists() and port_file.read_text().strip()):
            assert time.monotonic() < deadline, pool_log.read_text()
            time.sleep(0.1)
        yield BeamServices(
            f"localhost:{port_file.read_text().strip()}", f"localhost:{pool_port}", pool_log
        )
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(60)


@pytest.fixture(scope="module")
def distributed_run(
    beam_services: BeamServices, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, RunResult]:
    """A run that ends at Evaluator, whose threshold no model reaches; and its workdir."""
    workdir = tmp_path_factory.mktemp("distributed") / "var"
    beam = [
        "--runner=PortableRunner",
        f"--job_endpoint={beam_services.job_endpoint}",
        "--environment_type=EXTERNAL",
        f"--environment_config={beam_services.worker_pool}",
        "--sdk_container_image=unused",
    ]
    process = run_runner(
        *("--preset", "smoke", "--workdir", str(workdir), "--json"),
        *("--set", "training.epochs=1", "--set", "evaluation.min_accuracy=1.0"),
        *("--set", f"beam.pipeline_args={json.dumps(beam)}"),
    )
    return workdir, RunResult.model_validate_json(process.stdout)


@pytest.mark.integration
def test_every_node_up_to_the_verdict_is_done_by_workers_of_another_process(
    distributed_run: tuple[Path, RunResult], beam_services: BeamServices
) -> None:
    _, result = distributed_run
    assert result.status is Status.NOT_BLESSED, result.reasons
    states = {node.id: node.state for node in result.nodes}
    assert states["StatisticsGen"] is NodeState.DONE
    assert states["Evaluator"] is NodeState.DONE
    # One for each of ExampleGen, StatisticsGen and Evaluator.
    assert beam_services.pool_log.read_text().count("Starting worker with command") >= 3


@pytest.mark.integration
def test_the_examples_are_those_of_one_process_byte_for_byte(
    distributed_run: tuple[Path, RunResult], tmp_path: Path
) -> None:
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.types.standard_artifacts import Examples

    from components.idx_example_gen.component import IdxExampleGen
    from components.idx_example_gen.executor import Executor

    artifact = Examples()
    artifact.uri = str(tmp_path / "examples")
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=["--runner=FnApiRunner", "--sdk_container_image=unused"],
        tmp_dir=str(tmp_path),
        unique_id="1",
    )
    properties = IdxExampleGen(str(SAMPLE_DATA), CLASS_COUNT).spec.exec_properties
    Executor(context).Do({}, {"examples": [artifact]}, dict(properties))
    workdir, _ = distributed_run
    expected = shards(tmp_path / "examples")
    assert len(expected) == 3
    assert shards(workdir / "pipeline_root" / "IdxExampleGen") == expected


def shards(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in folder.rglob("*.gz")}


@pytest.mark.integration
def test_the_verdict_is_reached_on_every_class(distributed_run: tuple[Path, RunResult]) -> None:
    _, result = distributed_run
    assert list(result.classes) == list(CLASS_LABELS)
    assert result.accuracy is not None
    assert any("required is at least 1.0000" in reason for reason in result.reasons)
