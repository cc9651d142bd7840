"""Writes the pipeline as a DAG of Airflow 3."""

from pathlib import Path

from tfx.orchestration.data_types import RuntimeParameter

from files.whole import write_whole
from orchestration.airflow.plan import plan_of
from orchestration.compiler import compile_pipeline
from orchestration.ir import write_ir
from pipeline.settings.config import Config
from runs.executions import LAST_SPAN_PARAMETER

_DAG_FILE = Path(__file__).with_name("dag_file.py")


def compile_airflow(config: Config, output: Path) -> list[Path]:
    """Writes the DAG file, what it reads, and the compiled pipeline beside it.

    Args:
        config: all settings.
        output: a folder in which Airflow looks for DAGs.

    Returns:
        The files, the DAG file last.
    """
    folder = output.expanduser().resolve()
    dag, plan, pipeline = (
        folder / f"fashion_mnist{suffix}" for suffix in (".py", ".json", ".ir.json")
    )
    ir = compile_pipeline(config, last_span=RuntimeParameter(LAST_SPAN_PARAMETER, int))
    write_ir(ir, pipeline)
    write_whole(plan, plan_of(config, ir, pipeline).model_dump_json(indent=2) + "\n")
    # Last, because a scheduler may read it from the moment it is there.
    write_whole(dag, _DAG_FILE.read_text())
    return [pipeline, plan, dag]
