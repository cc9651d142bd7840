"""Runs one node of the compiled pipeline; every orchestrator goes through here."""

import json
import os
from collections.abc import Collection
from pathlib import Path

from ml_metadata import ListOptions
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import launcher, outputs_utils
from tfx.orchestration.portable.mlmd import execution_lib
from tfx.proto.orchestration import pipeline_pb2

from data.refusal import DataRefused
from orchestration.interrupt import is_interrupt
from pipeline.settings.errors import UsageError
from runs.executions import (
    BLAMED_PROPERTY,
    REASONS_PROPERTY,
    STATUS_PROPERTY,
    NodeOutcome,
    connection_of,
    find_execution,
    node_ids,
    open_metadata,
    outcome_of,
)
from runs.exit_status import Status
from runs.metadata_store import StoredMetadata

# Beam gives worker processes that it starts on this machine none of a pipeline's options. The one
# here has them import TFX, see `pipeline.definition`.
_BEAM_WORKER_OPTIONS = Path(__file__).with_name("beam_worker_options.json")

_ENVIRONMENT = {
    "PIPELINE_OPTIONS_FILE": str(_BEAM_WORKER_OPTIONS),
    # The model server that a node starts needs room on the same GPU.
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    # The tensor cores' short float32 differs from that of a model server on processors.
    "NVIDIA_TF32_OVERRIDE": "0",
}

# An execution property of every node, and so part of TFX's cache key.
_OUTPUTS_PROPERTY = "outputs_below"


class NodeFailed(Exception):
    """A node that did not succeed although its launcher returned."""


def run_node(ir: pipeline_pb2.Pipeline, node_id: str) -> NodeOutcome:
    """Runs a node, unless an execution with the same inputs and properties is in the cache.

    Running a node again that already succeeded in the same run changes nothing; one that failed
    or was killed is run anew. The reason of a failure goes into the metadata.

    Args:
        ir: the compiled pipeline, with its run id.
        node_id: which node.

    Raises:
        KeyError: when the pipeline has no such node.
        MetadataUnreachable: when the database does not answer.
        NodeFailed: when the execution is not recorded as complete or cached.
        Exception: whatever the node's executor raises.
    """
    node = _find(ir, node_id)
    deployment = runner_utils.extract_local_deployment_config(ir)
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # The metadata of a workdir that was moved or copied names folders of the place where it was,
    # in which another workdir's nodes may have written something else since.
    below = node.parameters.parameters[_OUTPUTS_PROPERTY].field_value
    below.string_value = ir.runtime_spec.pipeline_root.field_value.string_value
    _clear_earlier_attempt(ir, node)
    try:
        launcher.Launcher(
            pipeline_node=node,
            mlmd_connection=StoredMetadata(connection_of(ir)),
            pipeline_info=ir.pipeline_info,
            pipeline_runtime_spec=ir.runtime_spec,
            executor_spec=runner_utils.extract_executor_spec(deployment, node_id),
            custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, node_id),
        ).launch()
        # The launcher swallows some failures, such as inputs that cannot be resolved.
        return _recorded_outcome(ir, node)
    except BaseException as error:
        interrupted = is_interrupt(error)
        ended_by = KeyboardInterrupt() if interrupted else error
        with open_metadata(ir) as handle:
            execution = find_execution(handle, node)
            if execution:
                _record_failure(handle, execution, ended_by)
        if interrupted:
            raise ended_by from error
        raise


def without_cache(ir: pipeline_pb2.Pipeline, node_ids_: Collection[str]) -> None:
    """Has some nodes, and all that follow them, run whatever the cache holds.

    Raises:
        UsageError: the pipeline has no such node.
    """
    unknown = set(node_ids_) - set(node_ids(ir))
    if unknown:
        there = ", ".join(node_ids(ir))
        raise UsageError(f"the pipeline has no node {', '.join(sorted(unknown))}; it has {there}")
    affected = set(node_ids_)
    for node in ir.nodes:
        if affected.intersection(node.pipeline_node.upstream_nodes):
            affected.add(node.pipeline_node.node_info.id)
        if node.pipeline_node.node_info.id in affected:
            node.pipeline_node.execution_options.caching_options.enable_cache = False


def abandon_executions(ir: pipeline_pb2.Pipeline) -> None:
    """Marks executions that a killed run left as running, and removes what they had written.

    Only those that write below this pipeline's root: others may share the metadata. The caller
    makes sure that no other run works below that root.
    """
    running = ListOptions(filter_query="last_known_state = RUNNING")
    with open_metadata(ir) as handle:
        for execution in handle.store.get_executions(running):
            outputs = [path for id_ in node_ids(ir) for path in _outputs(ir, id_, execution.id)]
            if outputs:
                execution.last_known_state = metadata_store_pb2.Execution.CANCELED
                handle.store.put_executions([execution])
                _remove(outputs)


def _find(ir: pipeline_pb2.Pipeline, node_id: str) -> pipeline_pb2.PipelineNode:
    for node in ir.nodes:
        if node.pipeline_node.node_info.id == node_id:
            return node.pipeline_node
    raise KeyError(f"the pipeline has no node {node_id}; it has {', '.join(node_ids(ir))}")


def _clear_earlier_attempt(ir: pipeline_pb2.Pipeline, node: pipeline_pb2.PipelineNode) -> None:
    """Removes what this execution must not find in its folders.

    That is what a killed attempt wrote, whose execution the launcher reuses, and what executions
    wrote that the metadata does not know: it was moved away, and counts from 1 again.
    """
    node_id = node.node_info.id
    with open_metadata(ir) as handle:
        execution = find_execution(handle, node)
        if execution and not execution_lib.is_execution_successful(execution):
            _remove(_outputs(ir, node_id, execution.id))
        folders = [path for path in _outputs(ir, node_id) if path.name.isdecimal()]
        known = handle.store.get_executions_by_id({int(path.name) for path in folders})
        ids = {execution.id for execution in known}
        _remove([path for path in folders if int(path.name) not in ids])


def _outputs(ir: pipeline_pb2.Pipeline, node_id: str, execution_id: int | str = "*") -> list[Path]:
    """Returns the folders that an execution of a node has written to, or that all of them have."""
    root = Path(ir.runtime_spec.pipeline_root.field_value.string_value)
    return list((root / node_id).glob(f"*/{execution_id}"))


def _remove(outputs: list[Path]) -> None:
    for output in outputs:
        outputs_utils.fileio.rmtree(str(output))


def _record_failure(
    handle: metadata.Metadata, execution: metadata_store_pb2.Execution, error: BaseException
) -> None:
    status, reasons = Status.FAILED, [f"{type(error).__name__}: {error}"]
    if isinstance(error, DataRefused):
        status, reasons = Status.DATA_REFUSED, error.reasons
        blamed = json.dumps(error.blamed_spans)
        execution.custom_properties[BLAMED_PROPERTY].string_value = blamed
    elif isinstance(error, KeyboardInterrupt):
        status, reasons = Status.INTERRUPTED, ["interrupted"]
    execution.last_known_state = metadata_store_pb2.Execution.FAILED
    execution.custom_properties[STATUS_PROPERTY].string_value = status
    execution.custom_properties[REASONS_PROPERTY].string_value = json.dumps(reasons)
    handle.store.put_executions([execution])


def _recorded_outcome(ir: pipeline_pb2.Pipeline, node: pipeline_pb2.PipelineNode) -> NodeOutcome:
    with open_metadata(ir) as handle:
        execution = find_execution(handle, node)
        if execution is None:
            raise NodeFailed(f"{node.node_info.id} left no execution in the metadata")
        if not execution_lib.is_execution_successful(execution):
            result = execution_lib.get_execution_result(execution, ignore_parse_errors=True)
            why = result.result_message.strip().splitlines()[-1:] if result else []
            state = metadata_store_pb2.Execution.State.Name(execution.last_known_state)
            raise NodeFailed(f"{node.node_info.id} ended as {state}: {''.join(why)}")
        return outcome_of(handle, execution)
