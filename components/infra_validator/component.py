"""InfraValidator: only a model that a real model server loaded and answered with may be pushed."""

from typing import ClassVar

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.infra_validator import executor
from components.infra_validator.spec import ValidationSpec


class InfraValidatorSpec(ComponentSpec):
    """Inputs, outputs and parameters of InfraValidator."""

    PARAMETERS: ClassVar[dict[str, ExecutionParameter]] = {
        executor.SPEC_KEY: ExecutionParameter(type=str)
    }
    INPUTS: ClassVar[dict[str, ChannelParameter]] = {
        executor.MODEL_KEY: ChannelParameter(type=standard_artifacts.Model),
        executor.EXAMPLES_KEY: ChannelParameter(type=standard_artifacts.Examples),
        executor.MODEL_BLESSING_KEY: ChannelParameter(
            type=standard_artifacts.ModelBlessing, optional=True
        ),
        executor.DIFF_BLESSING_KEY: ChannelParameter(
            type=standard_artifacts.ModelBlessing, optional=True
        ),
    }
    OUTPUTS: ClassVar[dict[str, ChannelParameter]] = {
        executor.BLESSING_KEY: ChannelParameter(type=standard_artifacts.InfraBlessing)
    }


class InfraValidator(base_component.BaseComponent):
    """Tries a model on a model server in a process or container of its own.

    The output artifact `blessing` is described in `components.infra_validator.blessing`. A model
    that Evaluator or ModelDiff did not bless is not tried: its artifact says `validated` 0.

    TFX's own component of this name is not the base class: Kubeflow's compiler refuses subclasses.
    """

    SPEC_CLASS = InfraValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        examples: types.BaseChannel,
        spec: ValidationSpec,
        model_blessing: types.BaseChannel | None = None,
        diff_blessing: types.BaseChannel | None = None,
    ) -> None:
        """Makes the node.

        Args:
            model: the candidate, from Trainer.
            examples: what requests are built from.
            spec: what to do.
            model_blessing: Evaluator's verdict; None: every model is tried.
            diff_blessing: ModelDiff's verdict; None: every model is tried.
        """
        super().__init__(
            spec=InfraValidatorSpec(
                model=model,
                examples=examples,
                model_blessing=model_blessing,
                diff_blessing=diff_blessing,
                validation_spec=spec.model_dump_json(),
                blessing=types.Channel(type=standard_artifacts.InfraBlessing),
            )
        )
