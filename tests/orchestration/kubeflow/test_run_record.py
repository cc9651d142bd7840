"""What the steps of a Kubeflow run write down about it on the volume."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tfx.types import standard_artifacts

from components.pusher.executor import NotPushedError
from data import spans
from data.quarantine import quarantined
from data.refusal import DataRefused
from orchestration.kubeflow.run_record import Step, StepRecorder, run_id_of
from pipeline.modeling.features import CLASS_LABELS
from runs.exit_status import NodeState, Status
from runs.result import RunResult

RUN = "3f0e"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for value in (1, 2):
        image = np.full([4, 28, 28], value, np.uint8)
        spans.add(tmp_path / "data", image, np.zeros(4, np.uint8))
    return tmp_path


def recorder(root: Path, node_id: str) -> StepRecorder:
    step = Step(
        node_id=node_id,
        node_ids=["IdxExampleGen", "AnomalyGate", "ServedModel", "ModelDiff", "Pusher"],
        workdir=root,
        data_root=root / "data",
        serving_base=str(root / "serving"),
        labels=CLASS_LABELS,
        basis="settings, code and schema",
    )
    return StepRecorder(step, RUN)


def result(root: Path) -> RunResult:
    return RunResult.model_validate_json((root / "runs" / f"{RUN}.json").read_text())


def pushed(version: int) -> Any:
    artifact: Any = standard_artifacts.PushedModel()
    artifact.set_string_custom_property("status", "pushed")
    artifact.set_string_custom_property("pushed_version", str(version))
    artifact.set_string_custom_property("reasons", "[]")
    return artifact


def test_the_result_grows_with_each_step_and_ends_with_the_push(root: Path) -> None:
    examples: Any = standard_artifacts.Examples()
    examples.set_string_custom_property("spans", "[1, 2]")
    examples.set_string_custom_property("new_spans", "[2]")
    recorder(root, "IdxExampleGen").done({"examples": [examples]})
    assert (result(root).finished_at, result(root).basis) == (None, "settings, code and schema")
    served: Any = standard_artifacts.Model()
    served.set_int_custom_property("version", 6)
    recorder(root, "ServedModel").done({"model": [served]})
    recorder(root, "Pusher").done({"pushed_model": [pushed(7)]})

    found = result(root)
    assert (found.status, found.version, found.baseline_version) == (Status.PUSHED, 7, 6)
    assert (found.spans, found.new_spans) == ([1, 2], [2])
    assert [found.node(node).state for node in ("IdxExampleGen", "ServedModel", "Pusher")] == [
        NodeState.DONE
    ] * 3
    assert quarantined(root / "data") == {}


def test_refused_data_ends_the_run_and_quarantines_the_span_to_blame_once(root: Path) -> None:
    for _ in range(2):
        recorder(root, "AnomalyGate").failed(DataRefused(["label drifts"], blamed_spans=[1]))
        spans.add(root / "data", np.full([4, 28, 28], 3, np.uint8), np.zeros(4, np.uint8))
    found = result(root)
    assert (found.status, found.reasons) == (Status.DATA_REFUSED, ["label drifts"])
    assert found.blamed_spans == [1]
    assert found.node("AnomalyGate").state is NodeState.FAILED
    assert list(quarantined(root / "data")) == [1]


def test_refused_data_that_no_span_is_to_blame_for_stays(root: Path) -> None:
    recorder(root, "IdxExampleGen").failed(DataRefused(["the base set is damaged"]))
    assert (result(root).status, result(root).blamed_spans) == (Status.DATA_REFUSED, [])
    assert quarantined(root / "data") == {}


def test_the_step_that_decides_the_run_writes_its_page(root: Path) -> None:
    recorder(root, "ServedModel").done({})
    assert result(root).report is None
    recorder(root, "Pusher").done({"pushed_model": [pushed(7)]})
    page = result(root).report
    assert page == root / "reports" / RUN / "index.html"
    assert "version 7" in page.read_text()


def test_a_retry_that_succeeds_takes_the_failure_back(root: Path) -> None:
    recorder(root, "Pusher").failed(OSError("the volume is full"))
    assert result(root).reasons == ["OSError: the volume is full"]
    recorder(root, "Pusher").done({"pushed_model": [pushed(8)]})
    assert (result(root).status, result(root).reasons) == (Status.PUSHED, [])


def test_the_failure_of_one_step_outlasts_the_success_of_another(root: Path) -> None:
    recorder(root, "AnomalyGate").failed(ValueError("broken"))
    recorder(root, "ServedModel").done({})
    assert result(root).status is Status.FAILED
    assert result(root).reasons == ["ValueError: broken"]


def test_a_refusal_outlasts_the_failure_of_a_later_step(root: Path) -> None:
    diff, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
    diff.uri = str(root)
    blessing.set_string_custom_property("reasons", '["40% change"]')
    recorder(root, "ModelDiff").done({"diff": [diff], "blessing": [blessing]})
    recorder(root, "Pusher").failed(NotPushedError("40% change"))
    found = result(root)
    assert (found.status, found.reasons) == (Status.NOT_BLESSED, ["40% change"])
    assert found.node("Pusher").state is NodeState.FAILED


def test_a_step_without_a_volume_does_its_work_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    recorder(tmp_path / "file", "ServedModel").done({})
    assert "the run's record cannot be kept" in caplog.text


def test_a_damaged_record_is_begun_anew(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder(root, "ServedModel").done({})
    for damage in (b"", b'{"run_id":', b"\xff\xfe", b"{}"):
        (root / "runs" / f"{RUN}.json").write_bytes(damage)
        recorder(root, "Pusher").done({"pushed_model": [pushed(7)]})
        assert (result(root).status, result(root).version) == (Status.PUSHED, 7)
    assert caplog.text.count("is begun anew") == 4


def test_a_span_to_blame_that_somebody_removed_stops_nothing(root: Path) -> None:
    recorder(root, "AnomalyGate").failed(DataRefused(["label drifts"], blamed_spans=[99]))
    assert result(root).status is Status.DATA_REFUSED


def test_the_runs_id_is_in_the_uris_of_the_outputs() -> None:
    uri = "minio://bucket/v2/artifacts/fashion-mnist/3f0e/Trainer/77aa/model"
    artifacts = {"model": {"artifacts": [{"uri": uri}]}, "executor-logs": {"artifacts": []}}
    invocation = json.loads(json.dumps({"outputs": {"artifacts": artifacts}}))
    assert run_id_of(invocation, "Trainer") == "3f0e"
    with pytest.raises(ValueError, match="no output of Pusher"):
        run_id_of(invocation, "Pusher")
