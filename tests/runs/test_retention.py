"""A workdir holds what its newest runs and its served versions need, and no more."""

import errno
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.compiler.compiler import Compiler
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.proto.orchestration import pipeline_pb2

from components.idx_example_gen.component import IdxExampleGen
from components.served_model.component import ServedModel
from data import idx, layout
from orchestration import launch
from pipeline.settings.errors import UsageError
from pipeline.settings.paths import SCHEMA_FILE
from runs import executions, retention
from runs.exit_status import NodeState, Status
from runs.rebuild import result_from_metadata
from runs.result import RunResult
from serving.versions.record import VersionRecord
from serving.versions.store import VersionStore
from tests.components.conftest import BEAM_PIPELINE_ARGS

DELETED = metadata_store_pb2.Artifact.DELETED
START = datetime(2026, 11, 1, tzinfo=UTC)


class Days:
    """A workdir in which a pipeline of three small nodes runs once a day."""

    def __init__(self, folder: Path) -> None:
        self.workdir = folder / "var"
        self.data = folder / "data"
        self.serving = self.workdir / "serving" / "m"
        layout.base_folder(self.data).mkdir(parents=True)
        self.serving.mkdir(parents=True)
        self.new_data(0)

    def new_data(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        for part in ("train", "t10k"):
            base = layout.base_folder(self.data)
            images = random.integers(0, 256, [100, 28, 28], np.uint8)
            idx.write(base / f"{part}-images-idx3-ubyte.gz", images)
            labels = np.arange(100, dtype=np.uint8) % 10
            idx.write(base / f"{part}-labels-idx1-ubyte.gz", labels)

    def compiled(self, schema: str = "schema.pbtxt") -> pipeline_pb2.Pipeline:
        file = self.workdir.parent / schema
        shutil.copyfile(SCHEMA_FILE, file)
        return Compiler().compile(
            Pipeline(
                pipeline_name="small",
                pipeline_root=str(self.workdir / "pipeline_root"),
                metadata_connection_config=self.connection,
                components=[
                    IdxExampleGen(input_base=str(self.data), class_count=10),
                    ImportSchemaGen(schema_file=str(file)),
                    ServedModel(serving_dir=str(self.serving)),
                ],
                beam_pipeline_args=list(BEAM_PIPELINE_ARGS),
                enable_cache=True,
            )
        )

    @property
    def connection(self) -> metadata_store_pb2.ConnectionConfig:
        return sqlite_metadata_connection_config(str(self.workdir / "metadata.sqlite"))

    def run(self, day: int, ir: pipeline_pb2.Pipeline | None = None) -> list[bool]:
        """Runs all nodes and records the run; returns which nodes were cached."""
        ir = ir or self.compiled()
        run = executions.with_run_id(ir, run_id(day))
        cached = [launch.run_node(run, node).cached for node in executions.node_ids(ir)]
        self.record(day)
        return cached

    def record(self, day: int, status: Status = Status.NOT_BLESSED) -> None:
        """Writes what every run leaves beside its artifacts, as long ago as it was."""
        started = START + timedelta(days=day)
        result = RunResult(run_id=run_id(day), started_at=started, status=status)
        files = [
            result.write(self.workdir / "runs"),
            self.workdir / "logs" / f"{run_id(day)}.log",
            self.workdir / "reports" / run_id(day) / "index.html",
            self.workdir / "checkpoints" / f"{day:08x}" / "0003.keras",
            self.workdir / "tuning" / f"{day:08x}" / "oracle.json",
            self.workdir / "traffic" / f"{day}.tfrecord",
        ]
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
            touched(file, started)
            touched(file.parent, started)

    def push(self, version: int, day: int) -> None:
        folder = self.serving / str(version)
        folder.mkdir()
        (folder / "saved_model.pb").touch()
        VersionStore(self.serving).write_record(
            VersionRecord(version=version, run_id=run_id(day), pushed_at=START, checksums={})
        )

    def clean(self, keep: int, *, dry_run: bool = False) -> retention.Cleaning:
        return retention.clean(
            self.workdir, str(self.serving), keep, self.connection, dry_run=dry_run
        )

    def names(self, folder: str) -> list[str]:
        return sorted(path.name for path in (self.workdir / folder).iterdir())


def run_id(day: int) -> str:
    return f"{START + timedelta(days=day):%Y%m%d-%H%M%S-%f}"


def touched(path: Path, when: datetime) -> None:
    os.utime(path, (when.timestamp(), when.timestamp()))


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def outputs(days: Days, node: str = "IdxExampleGen", channel: str = "examples") -> list[int]:
    return sorted(map(int, days.names(f"pipeline_root/{node}/{channel}")))


@pytest.fixture
def days(tmp_path: Path) -> Days:
    return Days(tmp_path)


def test_a_workdir_is_as_large_after_30_runs_as_after_10(days: Days) -> None:
    sizes, metadata = {}, {}
    for day in range(1, 31):
        days.new_data(day)
        assert days.run(day, days.compiled(f"schema-{day}"))[:2] == [False, False]
        days.clean(keep=4)
        metadata[day] = (days.workdir / "metadata.sqlite").stat().st_size
        sizes[day] = size(days.workdir) - metadata[day]
    assert abs(sizes[30] / sizes[10] - 1) < 0.05
    assert (metadata[30] - metadata[10]) / 20 < 20_000
    assert len(days.names("runs")) == len(outputs(days)) == 4
    assert days.run(31, days.compiled("schema-30")) == [True, True, True]
    kept = result_from_metadata(days.compiled(), run_id(28))
    assert {node.state for node in kept.nodes} == {NodeState.DONE, NodeState.CACHED}


def test_results_logs_reports_and_leftovers_of_old_runs_go(days: Days) -> None:
    for day in range(6):
        days.record(day)
    days.clean(keep=2)
    kept = [run_id(4), run_id(5)]
    assert days.names("runs") == [f"{name}.json" for name in kept]
    assert days.names("logs") == [f"{name}.log" for name in kept]
    assert days.names("reports") == kept
    assert days.names("checkpoints") == days.names("tuning") == ["00000004", "00000005"]
    assert days.names("traffic") == ["4.tfrecord", "5.tfrecord"]


def test_a_dry_run_names_what_the_next_one_removes(days: Days) -> None:
    for day in range(3):
        days.new_data(day)
        days.run(day)
    before = size(days.workdir)
    foreseen = days.clean(keep=1, dry_run=True)
    assert size(days.workdir) == before
    assert days.clean(keep=1) == foreseen
    assert foreseen.kept_runs == [run_id(2)]
    assert size(days.workdir) < before
    assert not days.clean(keep=1).doomed


def test_everything_stays_when_all_runs_are_kept(days: Days) -> None:
    for day in range(3):
        days.record(day)
    assert days.clean(keep=0).doomed == {}
    assert len(days.names("runs")) == 3


def test_runs_of_versions_that_are_there_stay_and_those_of_pruned_ones_go(days: Days) -> None:
    for day in range(6):
        days.new_data(day)
        days.run(day)
    for version, day in [(1, 0), (2, 1), (3, 2)]:
        days.push(version, day)
    shutil.rmtree(days.serving / "1")
    (days.serving / "2").rename(days.serving / "2.rolled_back")
    days.clean(keep=1)
    kept = [run_id(day) for day in (1, 2, 5)]
    assert days.names("runs") == [f"{name}.json" for name in kept]
    assert days.names("reports") == kept
    assert len(outputs(days)) == 3
    assert result_from_metadata(days.compiled(), run_id(1)).node("ServedModel")


@pytest.mark.parametrize("serving", ["serving/fashion_mnist", "elsewhere"])
def test_settings_of_another_model_remove_nothing_that_a_served_version_needs(
    days: Days, serving: str
) -> None:
    for day in range(3):
        days.record(day)
    days.push(1, day=0)
    retention.clean(days.workdir, str(days.workdir / serving), 1, None)
    assert days.names("runs") == [f"{run_id(day)}.json" for day in (0, 2)]


def test_what_a_kept_run_found_in_the_cache_stays(days: Days) -> None:
    days.run(0)
    days.new_data(1)
    ir = days.compiled()
    for day in range(1, 4):
        assert days.run(day, ir)[1:] == [True, True]
    days.clean(keep=1)
    # Both were made by the first runs, which are gone.
    assert outputs(days, "ImportSchemaGen", "schema") == [2]
    assert outputs(days) == [4]
    assert days.run(4, ir) == [True, True, True]


def test_the_cache_does_not_hand_out_what_was_removed(days: Days) -> None:
    first = days.compiled()
    days.run(0, first)
    days.new_data(1)
    days.run(1, days.compiled("other"))
    days.clean(keep=1)
    with executions.open_metadata(first) as handle:
        gone = [found for found in handle.store.get_artifacts() if found.state == DELETED]
    assert len(gone) == 2
    with pytest.raises(UsageError, match=r"IdxExampleGen wrote in the run .* was removed"):
        result_from_metadata(first, run_id(0))
    # Even if something is there again under the old path.
    for artifact in gone:
        Path(artifact.uri).mkdir()
    days.new_data(0)
    assert days.run(2, first) == [False, False, True]


def test_a_run_that_is_at_work_keeps_what_it_made(days: Days) -> None:
    days.run(0)
    days.new_data(1)
    at_work = executions.with_run_id(days.compiled(), "airflow's")
    launch.run_node(at_work, "IdxExampleGen")
    days.clean(keep=1)
    assert outputs(days) == [1, 4]


def test_without_metadata_artifacts_are_left_alone(days: Days) -> None:
    days.run(0)
    (days.workdir / "metadata.sqlite").rename(days.workdir / "away")
    days.record(1)
    days.clean(keep=1)
    assert outputs(days) == [1]
    assert days.names("runs") == [f"{run_id(1)}.json"]
    assert not (days.workdir / "metadata.sqlite").exists()


def test_accidents_do_not_push_out_verdicts(days: Days) -> None:
    days.record(0, Status.PUSHED)
    for day in range(1, 6):
        days.record(day, Status.FAILED)
    days.clean(keep=2)
    assert days.names("runs") == [f"{run_id(day)}.json" for day in (0, 4, 5)]


def test_logs_of_other_programs_stay(days: Days) -> None:
    for day in range(3):
        days.record(day)
    serve = days.workdir / "logs" / "serve.log"
    serve.touch()
    touched(serve, START - timedelta(days=300))
    days.clean(keep=1)
    assert serve.is_file()


def test_only_abandoned_partial_files_go(days: Days) -> None:
    days.record(0)
    hour_ago = datetime.fromtimestamp(time.time() - 4000, UTC)
    names = (".state.json.0123abcd.partial", ".0003.keras.0123abcd.partial.keras")
    left = [days.workdir / "schedule" / names[0], days.workdir / "checkpoints" / names[1]]
    own = days.workdir / "data" / ".mine.partial"
    at_work = days.workdir / "schedule" / ".state.json.4567abcd.partial"
    for file in (*left, own, at_work):
        file.parent.mkdir(exist_ok=True)
        file.touch()
        if file != at_work:
            touched(file, hour_ago)
    assert sorted(days.clean(keep=5).doomed["partial files"]) == sorted(left)
    assert own.exists()
    assert at_work.exists()
    assert not any(file.exists() for file in left)


def test_a_damaged_result_goes_when_it_is_old(days: Days) -> None:
    for day in range(3):
        days.record(day)
    damaged = days.workdir / "runs" / f"{run_id(0)}.json"
    damaged.write_text("{")
    touched(damaged, START)
    days.clean(keep=2)
    assert not damaged.exists()


def test_a_result_that_cannot_be_read_now_stops_the_cleaning(
    days: Days, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(4):
        days.record(day)
    read = Path.read_bytes

    def failing(path: Path) -> bytes:
        if path.stem == run_id(0):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(OSError, match="Input/output error"):
        days.clean(keep=2)
    assert len(list((days.workdir / "runs").glob("*.json"))) == 4


def test_damaged_metadata_costs_a_line_and_removes_nothing(
    days: Days, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfx.orchestration.metadata.time.sleep", lambda _: None)
    for day in range(3):
        days.record(day)
    (days.workdir / "metadata.sqlite").write_text("damaged " * 1000)
    retention.clean_after_run(days.workdir, str(days.serving), 1, days.connection)
    assert len(days.names("runs")) == 3
    assert "was not cleaned" in caplog.text


def test_what_cannot_be_removed_is_named_and_the_rest_goes(
    days: Days, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(3):
        days.record(day)
    remove = shutil.rmtree

    def denied(path: Path) -> None:
        if path.parent.name == "reports":
            raise PermissionError(13, "Permission denied", str(path))
        remove(path)

    monkeypatch.setattr("runs.retention.shutil.rmtree", denied)
    cleaning = days.clean(keep=2)
    page = days.workdir / "reports" / run_id(0)
    assert cleaning.failures == [f"{page} was not removed: Permission denied"]
    assert days.names("checkpoints") == ["00000001", "00000002"]


def test_recordings_go_by_days_and_what_a_person_labelled_stays(days: Days) -> None:
    recorded = days.workdir / "traffic" / "recorded"
    recorded.mkdir(parents=True)
    old = recorded / "m-20260101T000000-1-1.tfrecord"
    new = recorded / "m-20260102T000000-1-2.tfrecord"
    foreign = recorded / "notes.txt"
    labels = recorded.parent / "labels.jsonl"
    for path in (old, new, foreign, labels):
        path.write_bytes(b"x")
    for path in (old, foreign, labels):
        touched(path, datetime.now(UTC) - timedelta(days=8))

    def clean(keep_days: int, keep: int = 1) -> list[Path]:
        cleaning = retention.clean(
            days.workdir, str(days.serving), keep, None, retention.Recorded(recorded, keep_days)
        )
        return cleaning.doomed.get("recordings", [])

    assert clean(0) == clean(9) == []
    assert clean(7, keep=0) == [old]
    assert sorted(recorded.iterdir()) == [new, foreign]
    assert labels.exists()
