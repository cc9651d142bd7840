"""Rebuilds what a run did from its metadata alone, whoever ran its nodes."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata
from tfx.orchestration.portable.mlmd import execution_lib
from tfx.proto.orchestration import pipeline_pb2

from pipeline.fingerprint import basis_of
from pipeline.settings.errors import UsageError
from runs import verdict
from runs.executions import (
    BLAMED_PROPERTY,
    REASONS_PROPERTY,
    STATUS_PROPERTY,
    class_labels,
    find_execution,
    node_fingerprints_of,
    node_ids,
    open_metadata,
    outcome_of,
    with_run_id,
)
from runs.exit_status import NodeState, Status
from runs.result import NodeResult, RunResult

_FINGERPRINT_PROPERTY = "run_fingerprint"
_SPANS_PROPERTY = "spans"


def result_from_metadata(ir: pipeline_pb2.Pipeline, run_id: str) -> RunResult:
    """Returns what a run did, as far as it has come.

    The preset is in no metadata, and the run's fingerprint only when the pipeline was compiled
    with it and the run came to Pusher.

    Args:
        ir: the compiled pipeline.
        run_id: the run.

    Raises:
        UsageError: when the metadata knows no such run, or its artifacts were removed.
    """
    concrete = with_run_id(ir, run_id)
    with open_metadata(ir) as handle:
        executions = {
            node.pipeline_node.node_info.id: execution
            for node in concrete.nodes
            if (execution := find_execution(handle, node.pipeline_node))
        }
        if not executions:
            raise UsageError(f"the metadata has no run {run_id}")
        result = RunResult(
            run_id=run_id,
            started_at=_time(min(e.create_time_since_epoch for e in executions.values())),
            nodes=[_node(node_id, executions.get(node_id)) for node_id in node_ids(ir)],
            log=_log(concrete),
        )
        labels = class_labels(ir)
        for node_id, execution in executions.items():
            if result.finished_at is None:
                _judge(handle, node_id, execution, result, labels)
    if result.finished_at is None:
        result.finish(Status.FAILED, ["the run did not come to its end"])
    result.spans, result.new_spans = _spans_read(executions.values())
    result.basis = basis_of(node_fingerprints_of(ir))
    result.finished_at = _time(max(_ended(execution) for execution in executions.values()))
    return result


def _judge(
    handle: metadata.Metadata,
    node_id: str,
    execution: metadata_store_pb2.Execution,
    result: RunResult,
    labels: Sequence[str],
) -> None:
    properties = execution.custom_properties
    if not execution_lib.is_execution_successful(execution):
        if REASONS_PROPERTY in properties:
            reasons = json.loads(properties[REASONS_PROPERTY].string_value)
            result.finish(Status(properties[STATUS_PROPERTY].string_value), reasons)
        if BLAMED_PROPERTY in properties:
            result.blamed_spans = json.loads(properties[BLAMED_PROPERTY].string_value)
        return
    outputs = outcome_of(handle, execution).outputs
    states = {each.mlmd_artifact.state for channel in outputs.values() for each in channel}
    if metadata_store_pb2.Artifact.DELETED in states:
        raise UsageError(
            f"what {node_id} wrote in the run {result.run_id} was removed; retention.runs says "
            "how many runs are kept"
        )
    if _FINGERPRINT_PROPERTY in properties:
        result.fingerprint = properties[_FINGERPRINT_PROPERTY].string_value
    verdict.record(node_id, outputs, result, labels)


def _spans_read(
    executions: Iterable[metadata_store_pb2.Execution],
) -> tuple[list[int], list[int]]:
    """Returns the spans and the new ones among them, as ExampleGen's driver wrote them down.

    TFX does not keep what the driver wrote of an execution that failed.
    """
    for execution in executions:
        properties = execution.custom_properties
        if _SPANS_PROPERTY in properties and properties[_SPANS_PROPERTY].string_value:
            spans, new = json.loads(properties[_SPANS_PROPERTY].string_value)
            return spans, new
    return [], []


def _node(node_id: str, execution: metadata_store_pb2.Execution | None) -> NodeResult:
    if execution is None:
        return NodeResult(id=node_id)
    milliseconds = _ended(execution) - execution.create_time_since_epoch
    return NodeResult(id=node_id, state=_state(execution), seconds=round(milliseconds / 1000, 1))


def _state(execution: metadata_store_pb2.Execution) -> NodeState:
    if execution.last_known_state == metadata_store_pb2.Execution.CACHED:
        return NodeState.CACHED
    if execution_lib.is_execution_successful(execution):
        return NodeState.DONE
    if execution_lib.is_execution_active(execution):
        return NodeState.RUNNING
    return NodeState.FAILED


def _ended(execution: metadata_store_pb2.Execution) -> int:
    return int(execution.last_update_time_since_epoch)


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _log(ir: pipeline_pb2.Pipeline) -> Path | None:
    run_id = ir.runtime_spec.pipeline_run_id.field_value.string_value
    root = Path(ir.runtime_spec.pipeline_root.field_value.string_value)
    log = root.parent / "logs" / f"{run_id}.log"
    return log if log.is_file() else None
