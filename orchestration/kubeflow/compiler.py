"""Compiles the pipeline to YAML that the open-source Kubeflow Pipelines backend runs."""

import json
from pathlib import Path
from typing import Any

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)
from tfx.orchestration.pipeline import Pipeline

from orchestration.freshness import Orchestrator, Origin, origin_of
from orchestration.kubeflow.in_cluster import in_cluster
from orchestration.kubeflow.package import write_package
from orchestration.kubeflow.run_record import Step
from pipeline.definition import create_pipeline
from pipeline.fingerprint import basis_of, node_fingerprints
from pipeline.settings.config import Config
from pipeline.settings.kubeflow import KubeflowSettings
from pipeline.settings.paths import ROOT

# Where the Dockerfile puts this repository, and the working directory of every step.
IMAGE_ROOT = "/app"

_COMMAND = ["python", "-m", "orchestration.kubeflow"]

# What these nodes do depends on folders that Kubeflow's cache key does not cover.
_NEVER_CACHED = ("IdxExampleGen", "ServedModel", "Pusher")

Document = dict[str, Any]


def compile_kubeflow(
    config: Config,
    output: Path,
    image_root: str = IMAGE_ROOT,
    settings_file: Path | None = None,
) -> Path:
    """Writes the compiled pipeline into a folder.

    Args:
        config: all settings; inside the cluster `kubeflow.workdir` is the workdir.
        output: the folder; it is made if it is not there.
        image_root: where this repository lies in the containers.
        settings_file: the TOML file that settings were read from; the file is not submitted any
            more when that has changed.

    Returns:
        The file: a PipelineSpec 2.1, followed by a PlatformSpec when a volume is to be mounted.

    Raises:
        UsageError: a pushed model would be lost with its container.
    """
    inside = in_cluster(config)
    pipeline = create_pipeline(inside)
    nodes = [component.id for component in pipeline.components]
    origin = origin_of(inside, Orchestrator.KUBEFLOW, nodes)
    spec = _pipeline_spec(pipeline, inside, origin)
    documents = [_in_image(spec, image_root)]
    if config.kubeflow.volume_claim:
        documents.append(_platform_spec(spec, config.kubeflow))
    path = output / f"{pipeline.pipeline_info.pipeline_name}.yaml"
    write_package(path, documents, settings_file)
    return path


def _pipeline_spec(pipeline: Pipeline, config: Config, origin: Origin) -> Document:
    runner = KubeflowV2DagRunner(
        KubeflowV2DagRunnerConfig(
            default_image=config.kubeflow.image,
            default_commands=_COMMAND,
            use_pipeline_spec_2_1=True,
        )
    )
    spec: Document = runner.run(pipeline, write_out=False)["pipelineSpec"]
    for node in _NEVER_CACHED:
        del spec["root"]["dag"]["tasks"][node]["cachingOptions"]
    _name_as_kfp(spec)
    basis = basis_of(node_fingerprints(config))
    for component in pipeline.components:
        executor = spec["deploymentSpec"]["executors"][f"{component.id}_executor"]
        executor["container"]["args"] += [
            *("--origin", origin.model_dump_json()),
            *("--proto_parameters", _proto_parameters(component)),
            *("--step", _step(component, origin.node_ids, config, basis)),
        ]
    return spec


def _proto_parameters(component: BaseComponent) -> str:
    """Returns which parameters the executor wants as messages: Kubeflow has them as JSON text."""
    declared = component.spec.PARAMETERS
    return json.dumps(
        {
            name: f"{declared[name].type.__module__}.{declared[name].type.__name__}"
            for name in component.exec_properties
            if name in declared and declared[name].use_proto
        }
    )


def _step(component: BaseComponent, node_ids: list[str], config: Config, basis: str) -> str:
    return Step(
        node_id=component.id,
        node_ids=node_ids,
        workdir=config.workdir,
        data_root=config.data_root,
        serving_base=config.serving_base,
        labels=config.data.labels,
        basis=basis,
    ).model_dump_json()


def _name_as_kfp(spec: Document) -> None:
    """Gives components the prefix that kfp's own tools take for granted, and cut off."""
    spec["components"] = {f"comp-{name}": part for name, part in spec["components"].items()}
    for task in spec["root"]["dag"]["tasks"].values():
        task["componentRef"]["name"] = f"comp-{task['componentRef']['name']}"


def _in_image(value: Any, image_root: str) -> Any:
    """Moves paths of this checkout, such as the schema's, to where the image has them."""
    if isinstance(value, dict):
        return {name: _in_image(part, image_root) for name, part in value.items()}
    if isinstance(value, list):
        return [_in_image(part, image_root) for part in value]
    if isinstance(value, str):
        return value.replace(f"{ROOT}/", f"{image_root}/")
    return value


def _platform_spec(spec: Document, settings: KubeflowSettings) -> Document:
    """Mounts the volume in every step (kubernetes_executor_config.proto, PvcMount)."""
    mount = {
        "mountPath": settings.workdir,
        "pvcNameParameter": {"runtimeValue": {"constant": settings.volume_claim}},
        # The same for backends before 2.5, as kfp's own SDK writes it.
        "constant": settings.volume_claim,
    }
    executors = {name: {"pvcMount": [mount]} for name in spec["deploymentSpec"]["executors"]}
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}
