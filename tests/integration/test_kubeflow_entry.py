"""The steps' entry module, called as the backend calls it: from the data to the gate."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestration.kubeflow import entry, invocation
from orchestration.kubeflow.compiler import compile_kubeflow
from pipeline.settings.load import load_config
from pipeline.settings.paths import ROOT
from runs.exit_status import NodeState, Status
from runs.result import RunResult

pytestmark = pytest.mark.integration

Document = dict[str, Any]


class Backend:
    """Makes the invocation of a task from the compiled pipeline, as the open-source backend does.

    It loses the types of input artifacts, adds an output for logs, gives URIs of an object store
    whose local copies lie under `folder`, and hands on the metadata of outputs.
    """

    def __init__(self, spec: Document, folder: Path) -> None:
        self._spec = spec
        self._folder = folder
        self.outputs: dict[tuple[str, str], Document] = {}

    def run(self, node: str) -> int:
        task = self._spec["root"]["dag"]["tasks"][node]
        component = self._spec["components"][task["componentRef"]["name"]]
        executor = self._spec["deploymentSpec"]["executors"][component["executorLabel"]]
        types = {
            name: output["artifactType"]
            for name, output in component["outputDefinitions"]["artifacts"].items()
        }
        file = self._folder / node / "output_metadata.json"
        invoked = {
            "inputs": {
                "parameterValues": {
                    name: value["runtimeValue"]["constant"]
                    for name, value in task["inputs"].get("parameters", {}).items()
                },
                "artifacts": self._inputs(task),
            },
            "outputs": {
                "artifacts": {
                    name: {"artifacts": [{"uri": f"minio://bucket/run/{node}/{name}"} | kind]}
                    for name, kind in [
                        *((name, {"type": kind}) for name, kind in types.items()),
                        ("executor-logs", {}),
                    ]
                },
                "outputFile": str(file),
            },
        }
        arguments = executor["container"]["args"]
        code = entry.main([json.dumps(invoked) if arg == "{{$}}" else arg for arg in arguments])
        if code == 0:
            for name, output in json.loads(file.read_text())["artifacts"].items():
                (self.outputs[node, name],) = output["artifacts"]
        return code

    def record(self) -> RunResult:
        """What the steps have written about the run whose id the URIs have."""
        executor = self._spec["deploymentSpec"]["executors"]["IdxExampleGen_executor"]
        arguments = executor["container"]["args"]
        workdir = Path(json.loads(arguments[arguments.index("--step") + 1])["workdir"])
        return RunResult.model_validate_json((workdir / "runs" / "run.json").read_text())

    def _inputs(self, task: Document) -> Document:
        sources = {
            name: value["taskOutputArtifact"]
            for name, value in task["inputs"].get("artifacts", {}).items()
        }
        return {
            name: {"artifacts": [self.outputs[source["producerTask"], source["outputArtifactKey"]]]}
            for name, source in sources.items()
        }


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Document:
    folder = tmp_path_factory.mktemp("kubeflow")
    config = load_config(
        "smoke", overrides=[f"kubeflow.workdir={folder}/work", "kubeflow.volume_claim=x"]
    )
    package = compile_kubeflow(config, folder, image_root=str(ROOT))
    loaded: Document = next(yaml.safe_load_all(package.read_text()))
    return loaded


@pytest.fixture
def backend(spec: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Backend:
    monkeypatch.setitem(invocation.MOUNTS, "minio", str(tmp_path / "minio"))
    return Backend(spec, tmp_path)


def test_data_nodes_run_in_a_row_without_a_driver_and_without_a_baseline(
    backend: Backend, tmp_path: Path
) -> None:
    nodes = [
        "IdxExampleGen",
        "ImportSchemaGen",
        "StatisticsGen",
        "ExampleValidator",
        "ServedModel",
        "SpanDistributionValidator",
        "AnomalyGate",
    ]
    assert [backend.run(node) for node in nodes] == [0] * len(nodes)

    examples = backend.outputs["IdxExampleGen", "examples"]
    assert examples["uri"] == "minio://bucket/run/IdxExampleGen/examples"
    assert examples["metadata"]["span"] == 0
    assert json.loads(examples["metadata"]["split_names"]) == ["train", "validation", "eval"]
    written = tmp_path / "minio/bucket/run/IdxExampleGen/examples"
    assert {path.name for path in written.iterdir()} == {
        "Split-train",
        "Split-validation",
        "Split-eval",
    }
    assert backend.outputs["ServedModel", "statistics"]["metadata"] == {"withdrawn": 1}
    record = backend.record()
    assert {node.id for node in record.nodes if node.state is NodeState.DONE} == set(nodes)
    assert (record.finished_at, record.baseline_version) == (None, None)
    assert (tmp_path / "minio/bucket/run/AnomalyGate/findings").read_text() == "[]"

    # As in the next run, when a version is being served.
    baseline = backend.outputs["StatisticsGen", "statistics"]
    backend.outputs["ServedModel", "statistics"] = baseline
    assert backend.run("SpanDistributionValidator") == 0


def test_an_image_with_other_code_stops_every_step_with_a_sentence(
    spec: Document, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = json.loads(json.dumps(spec).replace("pipeline/modeling", "pipeline/modelling"))
    for node in ("IdxExampleGen", "ImportSchemaGen"):
        caplog.clear()
        assert Backend(other, tmp_path).run(node) == 2
        (said,) = caplog.messages
        assert "different: the code in pipeline/modeling" in said
        assert "`runner.py compile kubeflow ...` writes the pipeline anew" in said


def test_refused_data_is_exit_code_5_with_its_reasons_in_the_log(
    backend: Backend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parameters = backend._spec["root"]["dag"]["tasks"]["IdxExampleGen"]["inputs"]["parameters"]
    before = parameters["input_base"]["runtimeValue"]["constant"]
    parameters["input_base"]["runtimeValue"]["constant"] = str(tmp_path / "nothing")
    try:
        assert backend.run("IdxExampleGen") == 5
    finally:
        parameters["input_base"]["runtimeValue"]["constant"] = before
    assert "the data is refused" in caplog.text
    record = backend.record()
    assert record.status is Status.DATA_REFUSED
    assert record.node("IdxExampleGen").state is NodeState.FAILED
    assert "base" in record.reasons[0]
    assert not (tmp_path / "IdxExampleGen" / "output_metadata.json").exists()
