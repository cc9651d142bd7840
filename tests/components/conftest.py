"""Launches components as every orchestrator here does: node by node, from the compiled IR."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Launched:
    """What became of one node: its execution's state and its output artifacts by key."""

    state: str
    outputs: dict[str, list[Any]]


# Naming an image keeps TFX from packing itself for remote workers, seconds for every Beam node.
BEAM_PIPELINE_ARGS = ("--runner=FnApiRunner", "--sdk_container_image=unused")

Launch = Callable[[Sequence[Any]], dict[str, Launched]]


@pytest.fixture(scope="session")
def launch_in() -> Callable[..., dict[str, Launched]]:
    """Runs components as one pipeline run whose metadata and artifacts lie in a folder.

    Further keyword arguments are the values of runtime parameters.
    """
    from tfx.dsl.compiler import compiler, constants
    from tfx.orchestration import metadata, pipeline
    from tfx.orchestration.local import runner_utils
    from tfx.orchestration.portable import launcher, runtime_parameter_utils

    def launch(
        folder: Path, components: Sequence[Any], **parameters: int | str
    ) -> dict[str, Launched]:
        connection = metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))
        ir = compiler.Compiler().compile(
            pipeline.Pipeline(
                "tested",
                str(folder / "pipeline_root"),
                components=list(components),
                enable_cache=True,
                beam_pipeline_args=list(BEAM_PIPELINE_ARGS),
                metadata_connection_config=connection,
            )
        )
        runtime_parameter_utils.substitute_runtime_parameter(
            ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: uuid.uuid4().hex, **parameters}
        )
        deployment = runner_utils.extract_local_deployment_config(ir)
        handle = metadata.Metadata(connection)
        launched = {}
        for node in (node.pipeline_node for node in ir.nodes):
            node_id = node.node_info.id
            info = launcher.Launcher(
                pipeline_node=node,
                mlmd_connection=handle,
                pipeline_info=ir.pipeline_info,
                pipeline_runtime_spec=ir.runtime_spec,
                executor_spec=runner_utils.extract_executor_spec(deployment, node_id),
                custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, node_id),
            ).launch()
            launched[node_id] = _result(handle, info.execution_id)
        return launched

    return launch


@pytest.fixture
def launch(launch_in: Callable[..., dict[str, Launched]], tmp_path: Path) -> Launch:
    """Runs components as one pipeline run; all runs of a test share metadata and cache."""
    return lambda components: launch_in(tmp_path, components)


def _result(handle: Any, execution_id: int) -> Launched:
    from ml_metadata.proto import metadata_store_pb2
    from tfx.types import artifact_utils

    with handle as connected:
        store = connected.store
        [execution] = store.get_executions_by_id([execution_id])
        outputs: dict[str, list[Any]] = {}
        for event in store.get_events_by_execution_ids([execution_id]):
            if event.type != metadata_store_pb2.Event.OUTPUT:
                continue
            [artifact] = store.get_artifacts_by_id([event.artifact_id])
            [artifact_type] = store.get_artifact_types_by_id([artifact.type_id])
            key = event.path.steps[0].key
            outputs.setdefault(key, []).append(
                artifact_utils.deserialize_artifact(artifact_type, artifact)
            )
    state = metadata_store_pb2.Execution.State.Name(execution.last_known_state)
    return Launched(state, outputs)
