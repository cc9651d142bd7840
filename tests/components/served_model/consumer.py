"""A node with the optional inputs that Evaluator and DistributionValidator have."""

from typing import Any, ClassVar

from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec


class Executor(base_executor.BaseExecutor):
    """Writes down how many artifacts came in."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        models, statistics = (
            len(input_dict[key]) for key in ("baseline_model", "baseline_statistics")
        )
        output_dict["seen"][0].write(f"{models} models, {statistics} statistics")


class ConsumerSpec(ComponentSpec):
    """As Evaluator's `baseline_model` and DistributionValidator's `baseline_statistics`."""

    PARAMETERS: ClassVar[dict[str, Any]] = {}
    INPUTS: ClassVar[dict[str, ChannelParameter]] = {
        "baseline_model": ChannelParameter(type=standard_artifacts.Model, optional=True),
        "baseline_statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics),
    }
    OUTPUTS: ClassVar[dict[str, ChannelParameter]] = {
        "seen": ChannelParameter(type=standard_artifacts.String)
    }


class Consumer(base_component.BaseComponent):
    """The node."""

    SPEC_CLASS = ConsumerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self, baseline_model: types.BaseChannel, baseline_statistics: types.BaseChannel
    ) -> None:
        super().__init__(
            ConsumerSpec(
                baseline_model=baseline_model,
                baseline_statistics=baseline_statistics,
                seen=types.Channel(type=standard_artifacts.String),
            )
        )
