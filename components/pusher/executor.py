"""What Pusher does: publish, check the live server, prune, and say what became of it."""

import json
import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components.idx_example_gen.output import new_spans, read_spans, span_digests
from components.infra_validator.blessing import (
    Blessing,
    is_blessed,
    read_blessing,
    stamped_model,
)
from components.pusher.live_check import (
    LiveCheckError,
    LiveServerSilentError,
    check_live_server,
)
from components.pusher.trial import begin_trial, pushed_on_trial
from components.vocabulary import read_vocabulary
from serving.edge.canary import Trial
from serving.versions.labels import UnknownVersionError
from serving.versions.permissions import Permissions
from serving.versions.prune import prune
from serving.versions.publish import PushStatus, publish
from serving.versions.record import Pushed
from serving.versions.rollback import roll_back
from serving.versions.storage import PublishError
from serving.versions.store import VersionStore

if TYPE_CHECKING:
    from serving.versions.signature import Signer

logger = logging.getLogger(__name__)

INFRA_BLESSING_KEY = "infra_blessing"
MODEL_BLESSING_KEY = "model_blessing"
DIFF_BLESSING_KEY = "diff_blessing"
EVALUATION_KEY = "evaluation"
EXAMPLES_KEY = "examples"
STATISTICS_KEY = "statistics"
PUSHED_MODEL_KEY = "pushed_model"

DESTINATION_KEY = "destination"
KEEP_KEY = "keep"
FILE_MODE_KEY = "file_mode"
GROUP_KEY = "group"
FAIL_WHEN_REFUSED_KEY = "fail_when_refused"
CODE_REVISION_KEY = "code_revision"
RUN_FINGERPRINT_KEY = "run_fingerprint"
LIVE_SERVER_KEY = "live_server"
LIVE_TIMEOUT_KEY = "live_timeout_seconds"
CANARY_PERCENT_KEY = "canary_percent"
MODEL_NAME_KEY = "model_name"
SIGN_WITH_KEY = "sign_with"

# Names of the artifact's custom properties; the first three are TFX's.
PUSHED_PROPERTY = "pushed"
DESTINATION_PROPERTY = "pushed_destination"
VERSION_PROPERTY = "pushed_version"
STATUS_PROPERTY = "status"
REASONS_PROPERTY = "reasons"


_REFUSED_BY = {
    MODEL_BLESSING_KEY: "Evaluator did not bless the model: it missed a threshold.",
    DIFF_BLESSING_KEY: "ModelDiff did not bless the model: it changes too many labels.",
}


class NotPushedError(PermissionError):
    """The model was refused, and the node was told to fail in that case."""


class PushResult(BaseModel):
    """What became of the model, of which version, where, and why it was not pushed."""

    status: PushStatus
    version: int | None = None
    destination: str | None = None
    reasons: list[str] = Field(default_factory=list)

    @property
    def is_pushed(self) -> bool:
        """Whether the version is new in the serving directory."""
        return self.status in (PushStatus.PUSHED, PushStatus.PUSHED_UNCONFIRMED)


class Executor(base_executor.BaseExecutor):
    """Pushes a model that both validators blessed."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes the model, or says in the output artifact why it did not.

        Raises:
            PublishError: the destination could not be written.
            serving.versions.signature.KeyFileError: the key cannot be used.
            NotPushedError: the model was refused and `fail_when_refused` is set.
        """
        result = self._refusal(input_dict) or self._push(input_dict, exec_properties)
        artifact = artifact_utils.get_single_instance(output_dict[PUSHED_MODEL_KEY])
        _write_result(result, artifact)
        if result.status is PushStatus.PUSHED:
            return
        if result.status is PushStatus.PUSHED_UNCONFIRMED:
            logger.warning("version %s is not confirmed: %s", result.version, result.reasons[0])
            return
        if result.status is PushStatus.UP_TO_DATE:
            logger.info("version %s at %s is up to date", result.version, result.destination)
            return
        logger.warning("not pushed (%s): %s", result.status, "; ".join(result.reasons))
        if exec_properties.get(FAIL_WHEN_REFUSED_KEY):
            raise NotPushedError(f"not pushed ({result.status}): {'; '.join(result.reasons)}")

    def _refusal(self, input_dict: dict[str, list[types.Artifact]]) -> PushResult | None:
        for key, reason in _REFUSED_BY.items():
            if not all(is_blessed(verdict) for verdict in input_dict.get(key) or []):
                return PushResult(status=PushStatus.NOT_BLESSED, reasons=[reason])
        blessing = _infra_blessing(input_dict)
        if not blessing.blessed:
            return PushResult(status=PushStatus.INFRA_REFUSED, reasons=blessing.reasons)
        return None

    def _push(
        self, input_dict: dict[str, list[types.Artifact]], exec_properties: dict[str, Any]
    ) -> PushResult:
        blessing = _infra_blessing(input_dict)
        blessing_uri = artifact_utils.get_single_uri(input_dict[INFRA_BLESSING_KEY])
        permissions = Permissions.parse(
            exec_properties.get(FILE_MODE_KEY) or "0644", exec_properties.get(GROUP_KEY) or None
        )
        store = VersionStore(exec_properties[DESTINATION_KEY], permissions)
        statistics = input_dict.get(STATISTICS_KEY)
        publish_it = partial(
            publish,
            store,
            stamped_model(blessing_uri),
            self._pushed(input_dict, exec_properties, blessing),
            blessed=blessing.checksums,
            statistics=Path(statistics[0].uri) if statistics else None,
            signer=_signer(exec_properties.get(SIGN_WITH_KEY)),
        )
        trial = _trial(store, exec_properties)
        outcome = pushed_on_trial(trial, publish_it) if trial else publish_it()
        result = PushResult(
            status=outcome.status,
            version=outcome.version,
            destination=outcome.directory,
            reasons=outcome.reasons,
        )
        if result.status is not PushStatus.PUSHED:
            return result
        if exec_properties.get(LIVE_SERVER_KEY):
            result = _confirmed(result, store, stamped_model(blessing_uri), exec_properties)
        if trial and result.is_pushed:
            result = _on_trial(result, trial, exec_properties[CANARY_PERCENT_KEY])
        elif trial:
            trial.restore()
        if result.is_pushed:
            _prune(store, exec_properties[KEEP_KEY], outcome.version)
        return result

    def _pushed(
        self,
        input_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
        blessing: Blessing,
    ) -> Pushed:
        run_id = (self._context.pipeline_run_id if self._context else None) or ""
        node = self._context.pipeline_node if self._context else None
        node_id = node.node_info.id if node else "Pusher"
        # Without a run id, the blessing stands for the execution: a retry is given the same one.
        execution = f"{run_id}/{node_id}" if run_id else input_dict[INFRA_BLESSING_KEY][0].uri
        return Pushed(
            run_id=run_id,
            execution=execution,
            code_revision=exec_properties.get(CODE_REVISION_KEY) or "",
            fingerprint=exec_properties.get(RUN_FINGERPRINT_KEY) or "",
            spans=read_spans(input_dict.get(EXAMPLES_KEY) or []),
            new_spans=new_spans(input_dict.get(EXAMPLES_KEY) or []),
            span_digests=span_digests(input_dict.get(EXAMPLES_KEY) or []),
            metrics=_metrics(input_dict.get(EVALUATION_KEY) or []),
            model_server=blessing.model_server,
            labels=read_vocabulary(stamped_model(input_dict[INFRA_BLESSING_KEY][0].uri)),
        )


def _trial(store: VersionStore, exec_properties: dict[str, Any]) -> Trial | None:
    if not exec_properties.get(CANARY_PERCENT_KEY):
        return None
    name = exec_properties[MODEL_NAME_KEY]
    return Trial(store, name, exec_properties.get(LIVE_SERVER_KEY) or None)


def _on_trial(result: PushResult, trial: Trial, percent: int) -> PushResult:
    why_not = begin_trial(trial, result.version or 0, percent)
    if not why_not:
        return result
    return result.model_copy(
        update={"status": PushStatus.PUSHED_UNCONFIRMED, "reasons": [*result.reasons, why_not]}
    )


def _confirmed(
    result: PushResult, store: VersionStore, model: Path, exec_properties: dict[str, Any]
) -> PushResult:
    """Has the live server answer with the version; takes it back if it answers otherwise."""
    version = result.version or 0
    try:
        check_live_server(
            exec_properties[LIVE_SERVER_KEY],
            exec_properties[MODEL_NAME_KEY],
            version,
            model,
            float(exec_properties.get(LIVE_TIMEOUT_KEY) or 60.0),
        )
        return result
    except LiveServerSilentError as silence:
        status, reason = PushStatus.PUSHED_UNCONFIRMED, str(silence)
    except LiveCheckError as failure:
        _take_back(store, version, str(failure))
        status, reason = PushStatus.ROLLED_BACK, str(failure)
    return result.model_copy(update={"status": status, "reasons": [reason]})


def read_result(artifact: types.Artifact) -> PushResult:
    """Reads what became of the model from the properties of a `pushed_model` artifact."""
    return PushResult(
        status=PushStatus(artifact.get_string_custom_property(STATUS_PROPERTY)),
        version=int(artifact.get_string_custom_property(VERSION_PROPERTY) or 0) or None,
        destination=artifact.get_string_custom_property(DESTINATION_PROPERTY) or None,
        reasons=json.loads(artifact.get_string_custom_property(REASONS_PROPERTY) or "[]"),
    )


def _write_result(result: PushResult, artifact: types.Artifact) -> None:
    artifact.set_int_custom_property(PUSHED_PROPERTY, int(result.is_pushed))
    artifact.set_string_custom_property(STATUS_PROPERTY, result.status)
    artifact.set_string_custom_property(REASONS_PROPERTY, json.dumps(result.reasons))
    artifact.set_string_custom_property(VERSION_PROPERTY, str(result.version or ""))
    artifact.set_string_custom_property(DESTINATION_PROPERTY, result.destination or "")


def _take_back(store: VersionStore, version: int, reason: str) -> None:
    try:
        roll_back(store, version, reason, allow_last=True)
    except UnknownVersionError:
        logger.warning("version %d was taken back by others meanwhile: %s", version, reason)
    except store.storage.errors as error:
        raise PublishError(
            f"Version {version} is live in {store.storage.base} and could not be rolled back: "
            f"{error}. {reason}"
        ) from error


def _prune(store: VersionStore, keep: int, version: int) -> None:
    try:
        prune(store, keep)
    except store.storage.errors as error:
        logger.warning("version %d is live, but old ones could not be pruned: %s", version, error)


def _signer(private_key: str | None) -> "Signer | None":
    if not private_key:
        return None
    # Only who signs pays for the import.
    from serving.versions.signature import Signer

    return Signer(Path(private_key))


def _infra_blessing(input_dict: dict[str, list[types.Artifact]]) -> Blessing:
    return read_blessing(artifact_utils.get_single_uri(input_dict[INFRA_BLESSING_KEY]))


def _metrics(evaluations: list[types.Artifact]) -> dict[str, Any]:
    if not evaluations:
        return {}
    # TFMA takes seconds to import.
    from components.metrics.evaluation_results import read_metrics

    return read_metrics(evaluations[0].uri).model_dump(mode="json")
