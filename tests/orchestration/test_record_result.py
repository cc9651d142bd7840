"""An orchestrator's last task: the result from the metadata, and the span that is to blame."""

import json
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from tfx.dsl.compiler.compiler import Compiler
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline

from components.idx_example_gen.component import IdxExampleGen
from components.served_model.component import ServedModel
from data import spans
from data.quarantine import quarantined
from data.refusal import DataRefused
from files import lock
from orchestration import launch, record_result
from orchestration.ir import read_ir, write_ir
from orchestration.terminal import Terminal
from pipeline.settings.paths import SAMPLE_DATA
from runs import executions, rebuild
from runs.exit_status import Status
from runs.result import RunResult

RUN_ID = "monday"


def add_span(root: Path, seed: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, [40, 28, 28], np.uint8)
    spans.add(root, images, np.zeros(40, np.uint8))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with three spans."""
    shutil.copytree(SAMPLE_DATA / "base", tmp_path / "data" / "base")
    for value in (1, 2, 3):
        add_span(tmp_path / "data", value)
    return tmp_path / "data"


@pytest.fixture
def ir_path(root: Path, tmp_path: Path) -> Path:
    """A pipeline of ExampleGen, over two spans, and what names the serving directory."""
    workdir = tmp_path / "var"
    workdir.mkdir()
    pipeline = Pipeline(
        pipeline_name="small",
        pipeline_root=str(workdir / "pipeline_root"),
        metadata_connection_config=sqlite_metadata_connection_config(
            str(workdir / "metadata.sqlite")
        ),
        components=[
            IdxExampleGen(input_base=str(root), class_count=10, window=2),
            ServedModel(serving_dir=str(workdir / "serving")),
        ],
        beam_pipeline_args=["--runner=FnApiRunner", "--sdk_container_image=unused"],
    )
    path = tmp_path / "small.ir.json"
    write_ir(Compiler().compile(pipeline), path)
    return path


def recorded(
    ir_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> RunResult:
    # Descriptors that were sent to a file once stay there; pytest needs its own.
    monkeypatch.setattr(record_result, "redirect_to", lambda _: Terminal(sys.stdout, sys.stderr))
    assert record_result.main([str(ir_path), RUN_ID]) == 0
    written = RunResult.model_validate_json(
        (ir_path.parent / "var" / "runs" / f"{RUN_ID}.json").read_text()
    )
    assert json.loads(capsys.readouterr().out) == json.loads(written.model_dump_json())
    return written


def test_a_span_that_arrived_after_the_run_is_never_blamed_however_often_it_is_recorded(
    ir_path: Path,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (root / "spans" / "3" / spans.LABELS_FILE).write_bytes(b"half of a file")
    with pytest.raises(DataRefused):
        launch.run_node(executions.with_run_id(read_ir(ir_path), RUN_ID), "IdxExampleGen")
    for seed in (4, 5):
        add_span(root, seed)
        result = recorded(ir_path, monkeypatch, capsys)
        assert (result.status, result.blamed_spans) == (Status.DATA_REFUSED, [3])
        assert list(quarantined(root)) == [3]


def test_the_spans_are_those_that_example_gen_read_and_the_gate_says_which_are_to_blame(
    ir_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = executions.with_run_id(read_ir(ir_path), RUN_ID)
    launch.run_node(run, "IdxExampleGen")
    add_span(root, 4)

    # What AnomalyGate does, in this small pipeline.
    def refuse(*_: object) -> None:
        raise DataRefused(["label drifts"], blamed_spans=[2])

    monkeypatch.setattr("components.served_model.component.Executor.Do", refuse)
    with pytest.raises(DataRefused):
        launch.run_node(run, "ServedModel")
    result = rebuild.result_from_metadata(read_ir(ir_path), RUN_ID)
    assert (result.status, result.blamed_spans) == (Status.DATA_REFUSED, [2])
    assert (result.spans, result.new_spans) == ([2, 3], [2, 3])


def test_a_span_whose_held_out_part_was_missed_is_left_out_with_the_reason(
    ir_path: Path,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    reason = "accuracy on the held-out part of span-3 is 0.1000, required is at least 0.4000"
    passed = RunResult(run_id="sunday", started_at=datetime.now(UTC), basis="code and settings")
    passed.finish(Status.PUSHED)
    passed.write(ir_path.parent / "var" / "runs")
    refused = passed.model_copy(update={"run_id": RUN_ID, "blamed_spans": [3]})
    refused.finish(Status.NOT_BLESSED, [reason])
    monkeypatch.setattr(rebuild, "result_from_metadata", lambda *_: refused)
    assert recorded(ir_path, monkeypatch, capsys).blamed_spans == [3]
    assert {n: q.reason for n, q in quarantined(root).items()} == {3: reason}


def test_what_only_older_runs_needed_goes_unless_a_node_is_at_work(
    ir_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_result, "redirect_to", lambda _: Terminal(sys.stdout, sys.stderr))
    workdir = ir_path.parent / "var"
    old = RunResult(run_id="sunday", started_at=datetime(2026, 11, 1, tzinfo=UTC))
    launch.run_node(executions.with_run_id(read_ir(ir_path), RUN_ID), "ServedModel")
    arguments = [str(ir_path), RUN_ID, "--keep-runs", "1"]
    path = old.write(workdir / "runs")
    with lock.shared(workdir):
        assert record_result.main(arguments) == 0
    assert path.is_file()
    assert record_result.main(arguments) == 0
    assert not path.exists()
    assert (workdir / "runs" / f"{RUN_ID}.json").is_file()
