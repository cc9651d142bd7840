"""A node that blesses a small file for a model, in place of InfraValidator."""

from typing import Any, ClassVar

from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.infra_validator.blessing import Blessing, stamped_model, write_blessing
from serving.versions.record import checksums_of


class Executor(base_executor.BaseExecutor):
    """Blesses the content that it is told."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        [artifact] = output_dict["blessing"]
        model = stamped_model(artifact.uri)
        model.mkdir(parents=True)
        (model / "saved_model.pb").write_text(exec_properties["content"])
        write_blessing(Blessing(blessed=True, checksums=checksums_of(model)), artifact)


class BlesserSpec(ComponentSpec):
    """As InfraValidator's output."""

    PARAMETERS: ClassVar[dict[str, Any]] = {"content": ExecutionParameter(type=str)}
    INPUTS: ClassVar[dict[str, Any]] = {}
    OUTPUTS: ClassVar[dict[str, ChannelParameter]] = {
        "blessing": ChannelParameter(type=standard_artifacts.InfraBlessing)
    }


class Blesser(base_component.BaseComponent):
    """The node."""

    SPEC_CLASS = BlesserSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, content: str) -> None:
        super().__init__(
            BlesserSpec(
                content=content, blessing=types.Channel(type=standard_artifacts.InfraBlessing)
            )
        )
