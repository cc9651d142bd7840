"""Runs one node's executor in a container of the compiled pipeline.

TFX's own entry point is made for Vertex AI. On the open-source backend it fails on the log
artifact, the lost input types and the URIs, and it cannot hand on an output without artifacts.
"""

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.dsl.components.base import base_beam_executor, base_executor
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils as tfx_kubeflow
from tfx.orchestration.portable import outputs_utils
from tfx.proto.orchestration import execution_result_pb2
from tfx.types import Artifact
from tfx.utils import import_utils

from data.refusal import DataRefused
from orchestration.freshness import changes_since
from orchestration.kubeflow import invocation
from orchestration.kubeflow.run_record import Step, StepRecorder, run_id_of
from runs.exit_status import Status

logger = logging.getLogger(__name__)

Artifacts = dict[str, list[Artifact]]

_BAD_USAGE = 2


def main(arguments: Sequence[str]) -> int:
    """Runs the executor and leaves its output where the backend looks for it.

    Args:
        arguments: as the compiled pipeline has them; unknown ones are options for Beam.

    Returns:
        The exit code: 0, 2 when the pipeline was compiled from other code than the image has, or 5
        when the data was refused.

    Raises:
        Exception: whatever the executor raises.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    origin, rest = _origin_parser().parse_known_args(arguments)
    # First, because other code may want other arguments, too.
    if changes := changes_since(origin.origin):
        logger.error(
            "this image is not what the pipeline was compiled from (different: %s); build the "
            "image, and `runner.py compile kubeflow ...` writes the pipeline anew",
            changes,
        )
        return _BAD_USAGE
    known, beam_arguments = _parser().parse_known_args(rest)
    return _run_step(known, beam_arguments)


def _run_step(known: argparse.Namespace, beam_arguments: list[str]) -> int:
    invoked = known.json_serialized_invocation_args
    recorder = StepRecorder(known.step, run_id_of(invoked, known.step.node_id))
    try:
        output, outputs = _execute(
            import_utils.import_class_by_path(known.executor_class_path),
            invoked,
            known.json_serialized_inputs_spec_args,
            known.proto_parameters,
            beam_arguments,
        )
    except DataRefused as refused:
        recorder.failed(refused)
        for reason in refused.reasons:
            logger.error("the data is refused: %s", reason)
        return Status.DATA_REFUSED.exit_code
    except Exception as error:
        recorder.failed(error)
        raise
    recorder.done(outputs)
    file = Path(invoked["outputs"]["outputFile"])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(output))
    return 0


def _origin_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--origin", type=json.loads)
    return parser


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--executor_class_path", required=True)
    parser.add_argument("--json_serialized_invocation_args", type=json.loads, required=True)
    parser.add_argument("--json_serialized_inputs_spec_args", type=json.loads, required=True)
    parser.add_argument("--proto_parameters", type=json.loads, required=True)
    parser.add_argument("--step", type=Step.model_validate_json, required=True)
    return parser


def _execute(
    executor_class: type[base_executor.BaseExecutor],
    invoked: invocation.Json,
    inputs_spec: invocation.Json,
    proto_parameters: Mapping[str, str],
    beam_arguments: list[str],
) -> tuple[invocation.Json, Artifacts]:
    readable = invocation.readable_by_tfx(invoked, inputs_spec)
    message = json_format.ParseDict(
        readable, pipeline_spec_pb2.ExecutorInput(), ignore_unknown_fields=True
    )
    definitions = json_format.ParseDict(inputs_spec, pipeline_spec_pb2.ComponentInputsSpec())
    # TFX's artifacts have numbers for ids, Kubeflow's have names.
    names: dict[int, str] = {}
    inputs = tfx_kubeflow.parse_raw_artifact_dict(message.inputs.artifacts, names)
    outputs = tfx_kubeflow.parse_raw_artifact_dict(message.outputs.artifacts, names)
    properties = tfx_kubeflow.parse_execution_properties(
        message.inputs.parameter_values, {}, definitions
    )
    for name, message_class in proto_parameters.items():
        properties[name] = json_format.Parse(
            properties[name], import_utils.import_class_by_path(message_class)()
        )
    executor = _executor(executor_class, Path(message.outputs.output_file), beam_arguments)
    outputs_utils.make_output_dirs(outputs)
    logger.info("%s begins", executor_class.__module__)
    result = executor.Do(inputs, outputs, properties)
    produced = {
        name: {"artifacts": [_as_json(artifact, names) for artifact in artifacts]}
        for name, artifacts in outputs.items()
    }
    withdrawn = _withdrawn(result)
    logger.info("%s is done, without %s", executor_class.__module__, withdrawn or "an exception")
    output = invocation.readable_by_backend({"artifacts": produced}, invoked, withdrawn)
    return output, {name: made for name, made in outputs.items() if name not in withdrawn}


def _executor(
    executor_class: type[base_executor.BaseExecutor], output_file: Path, beam_arguments: list[str]
) -> base_executor.BaseExecutor:
    place = {"tmp_dir": str(output_file.parent / ".temp"), "unique_id": output_file.parent.name}
    if issubclass(executor_class, base_beam_executor.BaseBeamExecutor):
        return executor_class(
            base_beam_executor.BaseBeamExecutor.Context(beam_pipeline_args=beam_arguments, **place)
        )
    return executor_class(base_executor.BaseExecutor.Context(extra_flags=beam_arguments, **place))


def _as_json(artifact: Artifact, names: Mapping[int, str]) -> invocation.Json:
    message = tfx_kubeflow.to_runtime_artifact(artifact, names)
    as_json: dict[str, Any] = json_format.MessageToDict(message)
    return as_json


def _withdrawn(result: execution_result_pb2.ExecutorOutput | None) -> list[str]:
    if result is None:
        return []
    return [name for name, entry in result.output_artifacts.items() if not entry.artifacts]
