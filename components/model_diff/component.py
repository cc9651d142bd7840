"""ModelDiff: how the candidate's answers differ from those of the model being served."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import path_utils

from components.examples import as_example, read_examples
from components.model_diff.churn import (
    Churn,
    LiveChurn,
    compare,
    compare_live,
    true_classes,
)
from components.predictions import predict
from serving.traffic.reading import newest

logger = logging.getLogger(__name__)

MODEL_KEY = "model"
BASELINE_MODEL_KEY = "baseline_model"
EXAMPLES_KEY = "examples"
DIFF_KEY = "diff"
BLESSING_KEY = "blessing"

CHURN_FILE = "churn.json"
_SPLIT = "eval"
# TFX's name for Evaluator's verdict, which this one is joined with.
BLESSED_PROPERTY = "blessed"
REASONS_PROPERTY = "reasons"


@dataclass(frozen=True)
class Recorded:
    """Which recorded pictures: of a model's recording in a folder, how many of the newest."""

    directory: str
    model: str
    count: int


class ModelDiffSpec(ComponentSpec):
    """Inputs, outputs and parameters of ModelDiff."""

    PARAMETERS: ClassVar[dict[str, ExecutionParameter]] = {
        "signature": ExecutionParameter(type=str),
        "labels": ExecutionParameter(type=str),
        "label_feature": ExecutionParameter(type=str),
        "max_churn": ExecutionParameter(type=float, optional=True),
        "recordings": ExecutionParameter(type=str, optional=True),
        "recorded_model": ExecutionParameter(type=str, optional=True),
        "recorded_pictures": ExecutionParameter(type=int, optional=True),
        "max_live_churn": ExecutionParameter(type=float, optional=True),
    }
    INPUTS: ClassVar[dict[str, ChannelParameter]] = {
        MODEL_KEY: ChannelParameter(type=standard_artifacts.Model),
        BASELINE_MODEL_KEY: ChannelParameter(type=standard_artifacts.Model, optional=True),
        EXAMPLES_KEY: ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS: ClassVar[dict[str, ChannelParameter]] = {
        DIFF_KEY: ChannelParameter(type=standard_artifacts.ModelEvaluation),
        BLESSING_KEY: ChannelParameter(type=standard_artifacts.ModelBlessing),
    }


class Executor(base_executor.BaseExecutor):
    """Compares both models on every evaluated example."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `churn.json`, when there is a baseline, and the verdict.

        Raises:
            ValueError: the baseline has no such signature.
        """
        churn = self._churn(input_dict, exec_properties)
        reasons = []
        if churn is not None:
            diff = Path(artifact_utils.get_single_uri(output_dict[DIFF_KEY]))
            (diff / CHURN_FILE).write_text(churn.model_dump_json(indent=2))
            limit = exec_properties.get("max_churn")
            logger.info("%d of %d labels change", churn.changed, churn.examples)
            if limit is not None and churn.share > limit:
                reasons.append(
                    f"The label of {churn.share:.2%} of the {churn.examples} evaluated images "
                    f"changes against the served model, allowed is {limit:.2%} (max_churn)."
                )
            reasons += _live_reasons(churn.live, exec_properties.get("max_live_churn"))
        blessing = artifact_utils.get_single_instance(output_dict[BLESSING_KEY])
        blessing.set_int_custom_property(BLESSED_PROPERTY, int(not reasons))
        blessing.set_string_custom_property(REASONS_PROPERTY, json.dumps(reasons))

    def _churn(
        self, input_dict: dict[str, list[types.Artifact]], exec_properties: dict[str, Any]
    ) -> Churn | None:
        if not input_dict.get(BASELINE_MODEL_KEY):
            return None
        examples = read_examples(input_dict[EXAMPLES_KEY], _SPLIT)
        before, after = (
            predict(_saved_model(input_dict[key]), examples, exec_properties["signature"])
            for key in (BASELINE_MODEL_KEY, MODEL_KEY)
        )
        truth = true_classes(examples, exec_properties["label_feature"])
        churn = compare(before, after, truth, json.loads(exec_properties["labels"]))
        churn.live = self._live_churn(input_dict, exec_properties)
        return churn

    def _live_churn(
        self, input_dict: dict[str, list[types.Artifact]], exec_properties: dict[str, Any]
    ) -> LiveChurn | None:
        count = exec_properties.get("recorded_pictures")
        if not count:
            return None
        directory = Path(exec_properties["recordings"])
        pictures = newest(directory, exec_properties["recorded_model"], count)
        if not pictures:
            logger.info("nothing is recorded in %s: churn on live traffic is not known", directory)
            return None
        live = compare_live(
            _saved_model(input_dict[BASELINE_MODEL_KEY]),
            _saved_model(input_dict[MODEL_KEY]),
            [as_example(picture.encoded) for picture in pictures],
            exec_properties["signature"],
        )
        logger.info("%d of %d labels of recorded pictures change", live.changed, live.examples)
        return live


def _live_reasons(live: LiveChurn | None, limit: float | None) -> list[str]:
    if live is None or limit is None or live.share <= limit:
        return []
    return [
        f"The label of {live.share:.2%} of {live.examples} recorded pictures changes against the "
        f"served model, allowed is {limit:.2%} (max_live_churn)."
    ]


def read_churn(uri: str) -> Churn | None:
    """Reads the comparison from a `diff` artifact; None when there was nothing to compare with."""
    path = Path(uri) / CHURN_FILE
    return Churn.model_validate_json(path.read_text()) if path.exists() else None


def read_reasons(blessing: types.Artifact) -> list[str]:
    """Reads why a model was refused from the `blessing` artifact; empty when it was blessed."""
    reasons: list[str] = json.loads(blessing.get_string_custom_property(REASONS_PROPERTY))
    return reasons


def _saved_model(models: list[types.Artifact]) -> Path:
    return Path(path_utils.serving_model_path(artifact_utils.get_single_uri(models)))


class ModelDiff(base_component.BaseComponent):
    """Counts the examples whose label changes between the served model and the candidate.

    The output `diff` holds the comparison (`read_churn`). The output `blessing` is a verdict of
    the same form as Evaluator's; Pusher and InfraValidator take both.
    """

    SPEC_CLASS = ModelDiffSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        examples: types.BaseChannel,
        signature: str,
        labels: list[str],
        label_feature: str,
        baseline_model: types.BaseChannel | None = None,
        *,
        max_churn: float | None = None,
        recorded: Recorded | None = None,
        max_live_churn: float | None = None,
    ) -> None:
        """Makes the node.

        Args:
            model: the candidate.
            examples: what the models are compared on.
            signature: takes serialized tf.Examples and has an output `probabilities`.
            labels: the vocabulary, in the order of class ids.
            label_feature: feature with the true class id.
            baseline_model: the served model; none blesses every candidate.
            max_churn: the largest share of changed labels that is blessed; None: any.
            recorded: pictures of production on which they are compared as well; None: none.
            max_live_churn: as `max_churn`, on these.
        """
        super().__init__(
            ModelDiffSpec(
                model=model,
                baseline_model=baseline_model,
                examples=examples,
                signature=signature,
                labels=json.dumps(labels),
                label_feature=label_feature,
                max_churn=max_churn,
                recordings=recorded.directory if recorded else None,
                recorded_model=recorded.model if recorded else None,
                recorded_pictures=recorded.count if recorded else None,
                max_live_churn=max_live_churn,
                diff=types.Channel(type=standard_artifacts.ModelEvaluation),
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
            )
        )
