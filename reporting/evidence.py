"""What the metadata holds about a run: its executions with their artifacts, by node."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2

_RUN_CONTEXT = "pipeline_run"
_NODE_CONTEXT = "node"


@dataclass(frozen=True)
class Artifact:
    """An artifact as the metadata knows it; `properties` holds custom ones too."""

    id: int
    type: str
    uri: str
    properties: dict[str, Any]

    @property
    def path(self) -> Path:
        """Its folder or file on this machine."""
        return Path(self.uri)


@dataclass(frozen=True)
class NodeEvidence:
    """One node's execution in a run.

    Attributes:
        properties: the execution's properties.
        inputs: artifacts by channel.
        outputs: artifacts by channel, also those that came from the cache.
    """

    node_id: str
    properties: dict[str, Any]
    inputs: dict[str, list[Artifact]] = field(default_factory=dict)
    outputs: dict[str, list[Artifact]] = field(default_factory=dict)


@dataclass(frozen=True)
class Origin:
    """Which node of which run made an artifact, and from which other artifacts."""

    node_id: str
    run_id: str
    made_from: list[int]


class Evidence:
    """All that the metadata holds about one run."""

    def __init__(self, store: MetadataStore, run_id: str) -> None:
        """Reads the run's executions; there are none when the metadata does not know the run."""
        self._store = store
        self.nodes: dict[str, NodeEvidence] = {}
        context = store.get_context_by_type_and_name(_RUN_CONTEXT, run_id)
        executions = store.get_executions_by_context(context.id) if context else []
        by_execution = {}
        for execution in sorted(executions, key=lambda execution: execution.id):
            node_id, _ = self._node_and_run(execution.id)
            self.nodes[node_id] = NodeEvidence(node_id, _properties(execution))
            by_execution[execution.id] = self.nodes[node_id]
        self._read_artifacts(by_execution)

    def output(self, node_id: str, channel: str) -> Artifact | None:
        """Returns the first artifact in an output of a node; None: the node has not written it."""
        node = self.nodes.get(node_id)
        artifacts = node.outputs.get(channel) if node else None
        return artifacts[0] if artifacts else None

    def property(self, node_id: str, name: str) -> Any:
        """Returns a property of a node's execution; None: it was not run or does not have it."""
        node = self.nodes.get(node_id)
        return node.properties.get(name) if node else None

    def artifacts(self) -> list[Artifact]:
        """Returns everything that the run made or used, in the order of their ids."""
        found = {
            artifact.id: artifact
            for node in self.nodes.values()
            for artifacts in (*node.inputs.values(), *node.outputs.values())
            for artifact in artifacts
        }
        return [found[id_] for id_ in sorted(found)]

    def sources(self) -> dict[str, set[str]]:
        """Returns for each node those nodes of the run whose artifacts went into it."""
        makers = {
            artifact.id: node_id
            for node_id, node in self.nodes.items()
            for artifacts in node.outputs.values()
            for artifact in artifacts
        }
        return {
            node_id: {
                makers[artifact.id]
                for artifacts in node.inputs.values()
                for artifact in artifacts
                if artifact.id in makers
            }
            for node_id, node in self.nodes.items()
        }

    def origins(self, artifacts: Iterable[Artifact]) -> dict[int, Origin]:
        """Returns by artifact id what made it; that may have been an earlier run."""
        makers: dict[int, int] = {}
        for event in self._store.get_events_by_artifact_ids([each.id for each in artifacts]):
            if event.type == metadata_store_pb2.Event.OUTPUT:
                # A later execution that has it as its output found it in the cache.
                earliest = makers.get(event.artifact_id, event.execution_id)
                makers[event.artifact_id] = min(earliest, event.execution_id)
        consumed: dict[int, list[int]] = {execution: [] for execution in makers.values()}
        for event in self._store.get_events_by_execution_ids(list(consumed)):
            if event.type == metadata_store_pb2.Event.INPUT:
                consumed[event.execution_id].append(event.artifact_id)
        made_by = {execution: self._node_and_run(execution) for execution in consumed}
        return {
            artifact: Origin(*made_by[execution], sorted(consumed[execution]))
            for artifact, execution in makers.items()
        }

    def _node_and_run(self, execution_id: int) -> tuple[str, str]:
        names = {
            context.type: context.name
            for context in self._store.get_contexts_by_execution(execution_id)
        }
        # TFX puts the pipeline's name before the node's.
        return names[_NODE_CONTEXT].rpartition(".")[2], names.get(_RUN_CONTEXT, "")

    def _read_artifacts(self, nodes: dict[int, NodeEvidence]) -> None:
        events = self._store.get_events_by_execution_ids(list(nodes))
        ids = {event.artifact_id for event in events}
        artifacts = {found.id: _artifact(found) for found in self._store.get_artifacts_by_id(ids)}
        for event in events:
            node = nodes[event.execution_id]
            side = {
                metadata_store_pb2.Event.INPUT: node.inputs,
                metadata_store_pb2.Event.OUTPUT: node.outputs,
            }.get(event.type)
            if side is not None and event.path.steps:
                channel = event.path.steps[0].key
                side.setdefault(channel, []).append(artifacts[event.artifact_id])


def _artifact(artifact: metadata_store_pb2.Artifact) -> Artifact:
    return Artifact(artifact.id, artifact.type, artifact.uri, _properties(artifact))


def _properties(
    described: metadata_store_pb2.Artifact | metadata_store_pb2.Execution,
) -> dict[str, Any]:
    return {
        name: getattr(value, value.WhichOneof("value"))
        for properties in (described.properties, described.custom_properties)
        for name, value in properties.items()
        if value.WhichOneof("value")
    }
