"""What the metadata holds about a run of the compiled pipeline: its nodes' executions.

The parameters that make a compiled pipeline one run are filled in here, too: by them its
executions are found.
"""

import copy
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import runtime_parameter_utils
from tfx.orchestration.portable.mlmd import execution_lib

# Their messages are packed as Any in the IR, which can be read only once they are known.
from tfx.proto.orchestration import (
    executable_spec_pb2,  # noqa: F401
    local_deployment_config_pb2,  # noqa: F401
    pipeline_pb2,
    platform_config_pb2,  # noqa: F401
)
from tfx.types import Artifact

from pipeline.modeling.features import CLASS_LABELS
from runs.metadata_store import StoredMetadata

LAST_SPAN_PARAMETER = "last-span"
_RUN_ID_PARAMETER = "pipeline-run-id"

# Custom properties of an execution that did not succeed, for which TFX records no reason.
STATUS_PROPERTY = "status"
REASONS_PROPERTY = "reasons"
BLAMED_PROPERTY = "blamed_spans"


class MetadataUnreachable(Exception):
    """The database that holds the metadata does not let this process in."""


@dataclass(frozen=True)
class NodeOutcome:
    """What a node left in the metadata.

    Attributes:
        cached: whether an earlier execution's outputs were taken.
        outputs: the output artifacts by channel.
    """

    cached: bool
    outputs: dict[str, list[Artifact]]


def with_run_id(
    ir: pipeline_pb2.Pipeline, run_id: str, last_span: int = 0
) -> pipeline_pb2.Pipeline:
    """Returns a copy of the pipeline in which the parameters of a run are filled in.

    Args:
        ir: the compiled pipeline.
        run_id: the run's name in the metadata.
        last_span: spans after it are not read, 0: all are; for a pipeline compiled with that
            parameter.
    """
    concrete = copy.deepcopy(ir)
    runtime_parameter_utils.substitute_runtime_parameter(
        concrete, {_RUN_ID_PARAMETER: run_id, LAST_SPAN_PARAMETER: last_span}
    )
    return concrete


def node_ids(ir: pipeline_pb2.Pipeline) -> list[str]:
    """Returns the ids of the pipeline's nodes in an order in which they can run."""
    return [node.pipeline_node.node_info.id for node in ir.nodes]


def node_fingerprints_of(ir: pipeline_pb2.Pipeline) -> dict[str, str]:
    """Returns the fingerprint of every node that the pipeline was compiled with."""
    nodes = (node.pipeline_node for node in ir.nodes)
    return {
        node.node_info.id: node.parameters.parameters["fingerprint"].field_value.string_value
        for node in nodes
        if "fingerprint" in node.parameters.parameters
    }


def class_labels(ir: pipeline_pb2.Pipeline) -> list[str]:
    """Returns the names of the classes that the pipeline was compiled for, in their order."""
    for node in ir.nodes:
        parameters = node.pipeline_node.parameters.parameters
        if "labels" in parameters:
            labels: list[str] = json.loads(parameters["labels"].field_value.string_value)
            return labels
    return list(CLASS_LABELS)


def find_execution(
    handle: metadata.Metadata, node: pipeline_pb2.PipelineNode
) -> metadata_store_pb2.Execution | None:
    """Returns the execution of a node in the run whose id is filled in; None: it has none."""
    contexts = [
        handle.store.get_context_by_type_and_name(
            context.type.name, context.name.field_value.string_value
        )
        for context in node.contexts.contexts
    ]
    if None in contexts:
        return None
    executions = execution_lib.get_executions_associated_with_all_contexts(handle, contexts)
    return executions[0] if executions else None


def outcome_of(handle: metadata.Metadata, execution: metadata_store_pb2.Execution) -> NodeOutcome:
    """Returns what a successful execution left."""
    return NodeOutcome(
        cached=execution.last_known_state == metadata_store_pb2.Execution.CACHED,
        outputs=execution_lib.get_output_artifacts(handle, execution.id),
    )


@contextmanager
def open_metadata(ir: pipeline_pb2.Pipeline) -> Iterator[metadata.Metadata]:
    """Opens the metadata that the pipeline was compiled for.

    Raises:
        MetadataUnreachable: when that fails, some seconds later.
    """
    with ExitStack() as stack:
        try:
            handle = stack.enter_context(StoredMetadata(connection_of(ir)))
        except RuntimeError as error:
            raise MetadataUnreachable(_unreachable(connection_of(ir), error)) from None
        yield handle


def connection_of(ir: pipeline_pb2.Pipeline) -> metadata_store_pb2.ConnectionConfig:
    config = runner_utils.extract_local_deployment_config(ir).metadata_connection_config
    return getattr(config, config.WhichOneof("connection_config"))


def _unreachable(connection: metadata_store_pb2.ConnectionConfig, error: Exception) -> str:
    if not connection.HasField("postgresql"):
        return f"cannot connect to the metadata {connection.sqlite.filename_uri}: {error}"
    server = connection.postgresql
    return (
        f"cannot connect to the metadata, database {server.dbname} of PostgreSQL at {server.host}:"
        f"{server.port}, as {server.user}: check that it answers, and PGPASSWORD or PGPASSFILE"
    )
