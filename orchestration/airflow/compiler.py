"""Writes the pipeline as a DAG of Airflow 3."""

from pathlib import Path

from tfx.orchestration.data_types import RuntimeParameter

from files.paths import resolved
from files.whole import write_whole
from orchestration.airflow.plan import plan_of
from orchestration.compiler import compile_pipeline
from orchestration.freshness import Orchestrator, origin_of
from orchestration.ir import write_ir
from pipeline.names import pipeline_name
from pipeline.settings.config import Config
from runs.executions import LAST_SPAN_PARAMETER, node_ids

_DAG_FILE = Path(__file__).with_name("dag_file.py")


def compile_airflow(config: Config, output: Path, settings_file: Path | None = None) -> list[Path]:
    """Writes the DAG file, what it reads, and the compiled pipeline beside it.

    Args:
        config: all settings.
        output: a folder in which Airflow looks for DAGs; those of several models may lie there.
        settings_file: the TOML file that settings were read from; tasks stop when it has changed.

    Returns:
        The files, the DAG file last.
    """
    # Without dots, lest one model's plan be the compiled pipeline of another one.
    name = pipeline_name(config.serving.model_name).replace("-", "_")
    folder = resolved(output)
    dag, plan, pipeline = (folder / f"{name}{suffix}" for suffix in (".py", ".json", ".ir.json"))
    ir = compile_pipeline(config, last_span=RuntimeParameter(LAST_SPAN_PARAMETER, int))
    origin = origin_of(config, Orchestrator.AIRFLOW, node_ids(ir), settings_file)
    write_ir(ir, pipeline, origin.model_dump(mode="json"))
    write_whole(plan, plan_of(config, ir, pipeline).model_dump_json(indent=2) + "\n")
    # Last, because a scheduler may read it from the moment it is there.
    write_whole(dag, _DAG_FILE.read_text())
    return [pipeline, plan, dag]
