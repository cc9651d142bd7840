"""Pusher: makes the blessed model a version in the serving directory, once and atomically."""

from typing import ClassVar

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration.portable import data_types
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.cache_key_driver import CacheKeyDriver
from components.pusher import executor

EXECUTION_KEY = "execution"


class PusherSpec(ComponentSpec):
    """Inputs, outputs and parameters of Pusher."""

    PARAMETERS: ClassVar[dict[str, ExecutionParameter]] = {
        executor.DESTINATION_KEY: ExecutionParameter(type=str),
        executor.KEEP_KEY: ExecutionParameter(type=int),
        executor.FILE_MODE_KEY: ExecutionParameter(type=str, optional=True),
        executor.GROUP_KEY: ExecutionParameter(type=str, optional=True),
        executor.FAIL_WHEN_REFUSED_KEY: ExecutionParameter(type=bool),
        executor.CODE_REVISION_KEY: ExecutionParameter(type=str, optional=True),
        executor.RUN_FINGERPRINT_KEY: ExecutionParameter(type=str, optional=True),
        executor.LIVE_SERVER_KEY: ExecutionParameter(type=str, optional=True),
        executor.LIVE_TIMEOUT_KEY: ExecutionParameter(type=float, optional=True),
        executor.CANARY_PERCENT_KEY: ExecutionParameter(type=int, optional=True),
        executor.MODEL_NAME_KEY: ExecutionParameter(type=str, optional=True),
        executor.SIGN_WITH_KEY: ExecutionParameter(type=str, optional=True),
        EXECUTION_KEY: ExecutionParameter(type=str, optional=True),
    }
    INPUTS: ClassVar[dict[str, ChannelParameter]] = {
        executor.INFRA_BLESSING_KEY: ChannelParameter(type=standard_artifacts.InfraBlessing),
        executor.MODEL_BLESSING_KEY: ChannelParameter(
            type=standard_artifacts.ModelBlessing, optional=True
        ),
        executor.DIFF_BLESSING_KEY: ChannelParameter(
            type=standard_artifacts.ModelBlessing, optional=True
        ),
        executor.EVALUATION_KEY: ChannelParameter(
            type=standard_artifacts.ModelEvaluation, optional=True
        ),
        executor.EXAMPLES_KEY: ChannelParameter(type=standard_artifacts.Examples, optional=True),
        executor.STATISTICS_KEY: ChannelParameter(
            type=standard_artifacts.ExampleStatistics, optional=True
        ),
    }
    OUTPUTS: ClassVar[dict[str, ChannelParameter]] = {
        executor.PUSHED_MODEL_KEY: ChannelParameter(type=standard_artifacts.PushedModel)
    }


class Driver(CacheKeyDriver):
    """Keeps TFX from taking an earlier push for this one.

    What a push leads to depends on the serving directory, which may have been rolled back or
    deleted since; pushing the same model again costs nothing.
    """

    def cache_key(self, execution_info: data_types.ExecutionInfo) -> dict[str, int | str]:
        """Returns what no other execution has."""
        return {EXECUTION_KEY: f"{execution_info.pipeline_run_id}/{execution_info.execution_id}"}


class Pusher(base_component.BaseComponent):
    """Pushes what InfraValidator blessed, byte for byte, and prunes old versions afterwards.

    The output artifact `pushed_model` says in its properties what became of it: `pushed` (0 or 1),
    `pushed_destination`, `pushed_version`, `status` (a `PushStatus`) and `reasons` (JSON).
    """

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)
    DRIVER_CLASS = Driver

    def __init__(
        self,
        infra_blessing: types.BaseChannel,
        destination: str,
        model_blessing: types.BaseChannel | None = None,
        diff_blessing: types.BaseChannel | None = None,
        evaluation: types.BaseChannel | None = None,
        examples: types.BaseChannel | None = None,
        statistics: types.BaseChannel | None = None,
        *,
        keep: int = 5,
        file_mode: str = "0644",
        group: str | None = None,
        fail_when_refused: bool = False,
        code_revision: str | None = None,
        run_fingerprint: str | None = None,
        live_server: str | None = None,
        live_timeout_seconds: float = 60.0,
        canary_percent: int = 0,
        model_name: str | None = None,
        sign_with: str | None = None,
    ) -> None:
        """Makes the node.

        Args:
            infra_blessing: an `InfraBlessing` that holds the warmed model.
            destination: the model's base directory or URI, `<destination>/<version>/`.
            model_blessing: Evaluator's verdict.
            diff_blessing: ModelDiff's verdict.
            evaluation: Evaluator's metrics, for the version's record.
            examples: their spans go into the record.
            statistics: of the training data; kept beside the record for the next run's drift check.
            keep: how many versions stay, besides those that are labelled or served.
            file_mode: permission bits of what is pushed, in octal; whatever the umask.
            group: that owns what is pushed; None: the pusher's.
            fail_when_refused: fail the node, instead of completing it unpushed, when the model was
                refused: for orchestrators that show nothing but success and failure.
            code_revision: revision of the source code, for the record.
            run_fingerprint: digest of all that the result depends on, for the record.
            live_server: REST address, `http://host:port`, of a running model server that must come
                to serve the version, or it is rolled back; None: no such check.
            live_timeout_seconds: how long that may take.
            canary_percent: share of the edge's clients that meet the version at first; 0: all do.
            model_name: under which the live server serves the model.
            sign_with: file with the private key that signs the version; None: it is not signed.
        """
        spec = PusherSpec(
            infra_blessing=infra_blessing,
            model_blessing=model_blessing,
            diff_blessing=diff_blessing,
            evaluation=evaluation,
            examples=examples,
            statistics=statistics,
            destination=destination,
            keep=keep,
            file_mode=file_mode,
            group=group,
            fail_when_refused=fail_when_refused,
            code_revision=code_revision,
            run_fingerprint=run_fingerprint,
            live_server=live_server,
            live_timeout_seconds=live_timeout_seconds,
            canary_percent=canary_percent,
            model_name=model_name,
            sign_with=sign_with,
            pushed_model=types.Channel(type=standard_artifacts.PushedModel),
        )
        super().__init__(spec=spec)
