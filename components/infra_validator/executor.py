"""What InfraValidator does inside TFX: reads artifacts, has the model tried, writes the verdict."""

import logging
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.examples import read_examples, sample_evenly
from components.infra_validator.blessing import (
    Blessing,
    is_blessed,
    stamped_model,
    write_blessing,
)
from components.infra_validator.spec import ValidationSpec
from components.infra_validator.validation import validate

logger = logging.getLogger(__name__)

MODEL_KEY = "model"
EXAMPLES_KEY = "examples"
MODEL_BLESSING_KEY = "model_blessing"
DIFF_BLESSING_KEY = "diff_blessing"
BLESSING_KEY = "blessing"
SPEC_KEY = "validation_spec"

# Who has to bless a model before it is tried, by input.
JUDGES = {MODEL_BLESSING_KEY: "Evaluator", DIFF_BLESSING_KEY: "ModelDiff"}


class Executor(base_executor.BaseExecutor):
    """Blesses a model that a model server loaded and answered with."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Tries the model and writes the verdict; a refusal is a verdict, not an error.

        Raises:
            ServerMissingError: the model server that was asked for is not there.
            ValueError: no requests can be built from the examples.
        """
        blessing_artifact = artifact_utils.get_single_instance(output_dict[BLESSING_KEY])
        blessing = self._verdict(input_dict, exec_properties, blessing_artifact.uri)
        write_blessing(blessing, blessing_artifact)
        if blessing.blessed:
            logger.info("infra validation blessed the model: %s", blessing.server_choice)
        else:
            logger.warning("infra validation refused: %s", " ".join(blessing.reasons))

    def _verdict(
        self,
        input_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
        output_uri: str,
    ) -> Blessing:
        for key, judge in JUDGES.items():
            if not all(is_blessed(verdict) for verdict in input_dict.get(key) or []):
                reason = f"Not tried on a model server: {judge} did not bless the model."
                return Blessing(blessed=False, validated=False, reasons=[reason])
        spec = ValidationSpec.model_validate_json(exec_properties[SPEC_KEY])
        model = artifact_utils.get_single_instance(input_dict[MODEL_KEY])
        path = path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model))
        examples = sample_evenly(read_examples(input_dict[EXAMPLES_KEY], spec.split), spec.examples)
        return validate(Path(path), examples, spec, stamped_model(output_uri))
