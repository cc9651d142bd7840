"""Compiles the pipeline to TFX's intermediate representation (IR)."""

from tfx.dsl.compiler.compiler import Compiler
from tfx.orchestration.data_types import RuntimeParameter
from tfx.proto.orchestration import pipeline_pb2

from data.spans import Choice
from pipeline.definition import create_pipeline
from pipeline.settings.config import Config


def compile_pipeline(
    config: Config,
    run_fingerprint: str | None = None,
    spans: Choice | None = None,
    last_span: RuntimeParameter | None = None,
) -> pipeline_pb2.Pipeline:
    """Returns the IR of the pipeline; its parameters are still to be filled in."""
    return Compiler().compile(create_pipeline(config, run_fingerprint, spans, last_span))
