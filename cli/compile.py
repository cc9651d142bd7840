"""`runner.py compile`: the pipeline as files for an orchestrator."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cli import options

app = typer.Typer(
    name="compile",
    help="Write the pipeline as files for an orchestrator.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Output = Annotated[
    Path,
    typer.Option(help="The folder that the files are written to.", callback=options.in_full),
]


@app.command(
    epilog=options.examples("compile kubeflow --output build/ --set kubeflow.volume_claim=models")
)
def kubeflow(
    output: Output,
    config: options.ConfigFile = None,
    preset: options.Preset = None,
    overrides: options.Overrides = None,
    model_server: options.ModelServer = None,
    as_json: options.Json = False,
) -> None:
    """Write the YAML for Kubeflow Pipelines; see docs/kubeflow.md."""
    from orchestration.kubeflow.in_cluster import in_cluster
    from pipeline.settings.load import load_config

    settings = load_config(
        preset, config, overrides or [], infra_validation__model_server=model_server
    )
    in_cluster(settings)  # Refuses at once what the compiler refuses after its imports.
    # Takes half a minute to import.
    from orchestration.kubeflow.compiler import compile_kubeflow

    _show([compile_kubeflow(settings, output, settings_file=config)], as_json)


@app.command(
    epilog=options.examples("compile airflow --output ~/airflow/dags --workdir /data/fashion")
)
def airflow(
    output: Output,
    workdir: options.Workdir = None,
    config: options.ConfigFile = None,
    preset: options.Preset = None,
    overrides: options.Overrides = None,
    model_server: options.ModelServer = None,
    as_json: options.Json = False,
) -> None:
    """Write a DAG file for Airflow 3; see docs/airflow.md."""
    from pipeline.settings.load import load_config

    settings = load_config(
        preset,
        config,
        overrides or [],
        workdir=workdir,
        infra_validation__model_server=model_server,
    )
    # Takes half a minute to import.
    from orchestration.airflow.compiler import compile_airflow

    _show(compile_airflow(settings, output, config), as_json)


def _show(files: Sequence[Path], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"files": [str(file) for file in files]}))
        return
    for file in files:
        print(file)
