"""What a node leaves in the metadata, and what running it again does."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.compiler.compiler import Compiler
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.proto.orchestration import pipeline_pb2
from tfx.types import Artifact

from components.idx_example_gen.component import IdxExampleGen
from components.served_model.component import ServedModel
from data import spans
from data.quarantine import quarantine
from data.refusal import DataRefused
from orchestration import launch
from orchestration.ir import read_ir, read_outline, write_ir
from pipeline.metadata_connection import connection_config
from pipeline.settings.errors import UsageError
from pipeline.settings.load import load_config
from pipeline.settings.paths import SAMPLE_DATA, SCHEMA_FILE
from runs import executions
from runs.exit_status import NodeState, Status
from runs.rebuild import result_from_metadata

RUN_ID = "monday"
CANCELED = metadata_store_pb2.Execution.CANCELED
COMPLETE = metadata_store_pb2.Execution.COMPLETE
RUNNING = metadata_store_pb2.Execution.RUNNING


def compile_small(
    workdir: Path, data: Path, connection: metadata_store_pb2.ConnectionConfig | None = None
) -> pipeline_pb2.Pipeline:
    """The pipeline's three nodes that have no upstream ones; the schema is the workdir's own."""
    return Compiler().compile(
        Pipeline(
            pipeline_name="small",
            pipeline_root=str(workdir / "pipeline_root"),
            metadata_connection_config=connection
            or sqlite_metadata_connection_config(str(workdir / "metadata.sqlite")),
            components=[
                IdxExampleGen(input_base=str(data), class_count=10),
                ImportSchemaGen(schema_file=str(workdir / "schema.pbtxt")),
                ServedModel(serving_dir=str(workdir / "serving")),
            ],
            beam_pipeline_args=["--runner=FnApiRunner", "--sdk_container_image=unused"],
            enable_cache=True,
        )
    )


@pytest.fixture
def ir(tmp_path: Path) -> pipeline_pb2.Pipeline:
    (tmp_path / "schema.pbtxt").write_text(SCHEMA_FILE.read_text())
    return compile_small(tmp_path, SAMPLE_DATA)


def all_executions(ir: pipeline_pb2.Pipeline) -> list[metadata_store_pb2.Execution]:
    with executions.open_metadata(ir) as handle:
        return handle.store.get_executions()


def kill_half_way(ir: pipeline_pb2.Pipeline) -> Path:
    """Runs ImportSchemaGen until it is killed; returns the half of its output that is there."""
    halves: list[Path] = []

    def killed(self: object, inputs: object, outputs: dict[str, list[Artifact]], *_: object):
        halves.append(Path(outputs["schema"][0].uri) / "half-written")
        halves[0].write_text("half")
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImportSchemaGen.EXECUTOR_SPEC.executor_class, "Do", killed)
        # A killed process records nothing.
        patch.setattr(launch, "_record_failure", lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            launch.run_node(executions.with_run_id(ir, RUN_ID), "ImportSchemaGen")
    (half,) = halves
    assert half.is_file()
    return half


def test_a_complete_node_is_left_alone(ir, tmp_path: Path) -> None:
    run = executions.with_run_id(ir, RUN_ID)
    first = launch.run_node(run, "ImportSchemaGen")
    (tmp_path / "schema.pbtxt").unlink()
    again = launch.run_node(run, "ImportSchemaGen")
    assert again.outputs["schema"][0].uri == first.outputs["schema"][0].uri
    assert len(all_executions(ir)) == 1


def test_a_failed_node_is_run_again(ir, tmp_path: Path) -> None:
    run = executions.with_run_id(ir, RUN_ID)
    (tmp_path / "schema.pbtxt").rename(tmp_path / "away")
    with pytest.raises(Exception, match=r"schema\.pbtxt"):
        launch.run_node(run, "ImportSchemaGen")
    failed = result_from_metadata(ir, RUN_ID)
    assert failed.status is Status.FAILED
    assert "schema.pbtxt" in failed.reasons[0]
    assert failed.node("ImportSchemaGen").state is NodeState.FAILED
    (tmp_path / "away").rename(tmp_path / "schema.pbtxt")
    assert not launch.run_node(run, "ImportSchemaGen").cached
    assert result_from_metadata(ir, RUN_ID).node("ImportSchemaGen").state is NodeState.DONE


def test_a_killed_node_is_run_again_without_what_it_left(ir) -> None:
    half = kill_half_way(ir)
    launch.run_node(executions.with_run_id(ir, RUN_ID), "ImportSchemaGen")
    assert not half.exists()
    assert (half.parent / "schema.pbtxt").is_file()
    assert [e.last_known_state for e in all_executions(ir)] == [
        metadata_store_pb2.Execution.COMPLETE
    ]


def test_after_the_metadata_was_moved_away_outputs_hold_only_new_files(ir, tmp_path: Path) -> None:
    for run_id in ("monday", "tuesday"):
        run = executions.with_run_id(ir, run_id)
        launch.without_cache(run, executions.node_ids(ir))
        for node_id in executions.node_ids(ir):
            folders = [Path(o.uri) for o in launch.run_node(run, node_id).outputs.get("schema", [])]
            for folder in folders:
                (folder / "of an old run").touch()
    (tmp_path / "metadata.sqlite").rename(tmp_path / "away")
    run = executions.with_run_id(ir, "monday")
    for node_id in ("ServedModel", "ImportSchemaGen"):
        launch.run_node(run, node_id)
    schemas = tmp_path / "pipeline_root" / "ImportSchemaGen" / "schema"
    assert [path.relative_to(schemas) for path in schemas.rglob("*") if path.is_file()] == [
        Path("2/schema.pbtxt")
    ]


def test_a_workdir_that_was_moved_takes_nothing_from_what_is_at_its_old_place_now(
    tmp_path: Path,
) -> None:
    data, place, moved = (tmp_path / name for name in ("data", "var", "var.old"))
    shutil.copytree(SAMPLE_DATA, data)

    def generate(workdir: Path, run_id: str) -> tuple[bool, Artifact, bytes]:
        workdir.mkdir(exist_ok=True)
        ir = executions.with_run_id(compile_small(workdir, data), run_id)
        outcome = launch.run_node(ir, "IdxExampleGen")
        (examples,) = outcome.outputs["examples"]
        (shard,) = Path(examples.uri).glob("Split-train/*.gz")
        return outcome.cached, examples, shard.read_bytes()

    _, _, before = generate(place, "monday")
    place.rename(moved)
    spans.add(data, *(np.zeros(shape, np.uint8) for shape in ((40, 28, 28), (40,))))
    _, _, other = generate(place, "tuesday")
    assert other != before

    quarantine(data, 1, "all black")
    cached, examples, now = generate(moved, "wednesday")
    assert not cached
    assert Path(examples.uri).is_relative_to(moved)
    assert now == before
    assert generate(moved, "thursday")[0]


def test_outputs_that_the_metadata_knows_stay(ir) -> None:
    kept = launch.run_node(executions.with_run_id(ir, "monday"), "ImportSchemaGen")
    run = executions.with_run_id(ir, "tuesday")
    launch.without_cache(run, ["ImportSchemaGen"])
    launch.run_node(run, "ImportSchemaGen")
    assert (Path(kept.outputs["schema"][0].uri) / "schema.pbtxt").is_file()


def test_an_interrupted_node_says_so_in_the_metadata(ir, monkeypatch: pytest.MonkeyPatch) -> None:
    run = executions.with_run_id(ir, RUN_ID)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("components.served_model.component.Executor.Do", interrupted)
    with pytest.raises(KeyboardInterrupt):
        launch.run_node(run, "ServedModel")
    assert result_from_metadata(ir, RUN_ID).status is Status.INTERRUPTED


def test_an_interrupt_that_beam_wraps_is_one(ir, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrapped(*_: object) -> None:
        try:
            raise KeyboardInterrupt
        except BaseException:
            raise RuntimeError("KeyboardInterrupt [while running 'Analyze']")  # noqa: B904

    monkeypatch.setattr("components.served_model.component.Executor.Do", wrapped)
    with pytest.raises(KeyboardInterrupt):
        launch.run_node(executions.with_run_id(ir, RUN_ID), "ServedModel")
    assert result_from_metadata(ir, RUN_ID).status is Status.INTERRUPTED


def test_refused_data_keeps_its_reasons(tmp_path: Path) -> None:
    ir = compile_small(tmp_path, tmp_path / "no data")
    with pytest.raises(DataRefused) as refusal:
        launch.run_node(executions.with_run_id(ir, RUN_ID), "IdxExampleGen")
    result = result_from_metadata(ir, RUN_ID)
    assert result.status is Status.DATA_REFUSED
    assert result.reasons == refusal.value.reasons
    assert result.node("ServedModel").state is NodeState.SKIPPED


def test_a_run_is_rebuilt_from_the_metadata(ir, tmp_path: Path) -> None:
    run = executions.with_run_id(ir, RUN_ID)
    for node_id in executions.node_ids(ir):
        launch.run_node(run, node_id)
    result = result_from_metadata(ir, RUN_ID)
    assert [node.id for node in result.nodes] == executions.node_ids(ir)
    assert {node.state for node in result.nodes} == {NodeState.DONE}
    assert result.baseline_version is None
    assert result.finished_at is not None
    assert result.finished_at >= result.started_at
    with pytest.raises(UsageError, match="no run tuesday"):
        result_from_metadata(ir, "tuesday")


def test_executions_of_others_on_the_same_metadata_are_not_abandoned(ir, tmp_path: Path) -> None:
    half = kill_half_way(ir)
    other = tmp_path / "other"
    other.mkdir()
    elsewhere = compile_small(other, SAMPLE_DATA)
    elsewhere.deployment_config.CopyFrom(ir.deployment_config)
    launch.abandon_executions(executions.with_run_id(elsewhere, "tuesday"))
    assert [e.last_known_state for e in all_executions(ir)] == [
        metadata_store_pb2.Execution.RUNNING
    ]
    launch.abandon_executions(executions.with_run_id(ir, "tuesday"))
    assert [e.last_known_state for e in all_executions(ir)] == [
        metadata_store_pb2.Execution.CANCELED
    ]
    assert not half.exists()


def test_a_database_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfx.orchestration.metadata.time.sleep", lambda _: None)
    settings = ["metadata.host='127.0.0.1'", "metadata.port=1", "metadata.user='me'"]
    connection = connection_config(load_config(overrides=settings))
    run = executions.with_run_id(compile_small(tmp_path, SAMPLE_DATA, connection), RUN_ID)
    with pytest.raises(
        executions.MetadataUnreachable, match=r"PostgreSQL at 127\.0\.0\.1:1, as me"
    ):
        launch.run_node(run, "ServedModel")


def test_a_compiled_pipeline_is_read_back_as_it_was(ir, tmp_path: Path) -> None:
    path = tmp_path / "small.ir.json"
    write_ir(ir, path)
    assert read_ir(path) == ir
    outline = read_outline(path)
    assert outline.workdir == tmp_path
    assert outline.node_ids == executions.node_ids(ir)
    assert list(tmp_path.glob(".*")) == []


def test_a_file_that_is_no_pipeline_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"nodes": []}')
    with pytest.raises(UsageError, match=r"other\.json is not a compiled pipeline"):
        read_outline(path)
    with pytest.raises(UsageError, match="No such file"):
        read_ir(tmp_path / "missing.json")
