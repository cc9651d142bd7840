"""`runner.py kubeflow`: runs and recurring runs on a Kubeflow Pipelines server."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options

if TYPE_CHECKING:
    from orchestration.kubeflow.client import KubeflowClient, RecurringRun
    from pipeline.settings.config import Config

app = typer.Typer(
    name="kubeflow",
    help="Run the pipeline on Kubeflow Pipelines, once or by a schedule.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
schedule = typer.Typer(
    help="Create, list, disable, enable and delete recurring runs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(schedule, name="schedule")

Host = Annotated[str | None, typer.Option(help="Address of the server. [kubeflow.host]")]
Package = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="A compiled pipeline; else it is compiled."),
]
RecurringRunId = Annotated[str, typer.Argument(help="As `list` shows it.")]


@app.command(epilog=options.examples("kubeflow submit --package build/fashion-mnist.yaml"))
def submit(
    package: Package = None,
    host: Host = None,
    config: options.ConfigFile = None,
    preset: options.Preset = None,
    overrides: options.Overrides = None,
    as_json: options.Json = False,
) -> None:
    """Upload the pipeline and run it once."""
    settings = _load(host, config, preset, overrides)
    with _connected(settings) as client:
        run = client.submit(package or _compiled(settings, config))
    typer.echo(
        run.model_dump_json() if as_json else f"run {run.run_id} of version {run.version_id}"
    )


@schedule.command(
    epilog=options.examples('kubeflow schedule create --config production.toml --cron "0 3 * * *"')
)
def create(
    cron: Annotated[
        str | None,
        typer.Option(help="Five fields, in the server's time zone. [schedule.cron]"),
    ] = None,
    package: Package = None,
    host: Host = None,
    config: options.ConfigFile = None,
    preset: options.Preset = None,
    overrides: options.Overrides = None,
    as_json: options.Json = False,
) -> None:
    """Upload the pipeline and have it run again and again."""
    settings = _load(host, config, preset, overrides)
    with _connected(settings) as client:
        created = client.create_recurring_run(
            package or _compiled(settings, config), cron or settings.schedule.cron
        )
    _show([created], as_json)


@schedule.command("list", epilog=options.examples("kubeflow schedule list --json"))
def list_recurring_runs(
    host: Host = None,
    config: options.ConfigFile = None,
    overrides: options.Overrides = None,
    as_json: options.Json = False,
) -> None:
    """Show all recurring runs of the experiment."""
    from pipeline.names import pipeline_name

    settings = _load(host, config, None, overrides)
    with _connected(settings) as client:
        found = client.recurring_runs(pipeline_name(settings.serving.model_name))
    _show(found, as_json)


@schedule.command(epilog=options.examples("kubeflow schedule disable ID"))
def disable(
    recurring_run_id: RecurringRunId,
    host: Host = None,
    config: options.ConfigFile = None,
    overrides: options.Overrides = None,
    as_json: options.Json = False,
) -> None:
    """Let a recurring run start no more runs."""
    with _connected(_load(host, config, None, overrides)) as client:
        client.disable_recurring_run(recurring_run_id)
    _say(recurring_run_id, "disabled", as_json)


@schedule.command(epilog=options.examples("kubeflow schedule enable ID"))
def enable(
    recurring_run_id: RecurringRunId,
    host: Host = None,
    config: options.ConfigFile = None,
    overrides: options.Overrides = None,
    as_json: options.Json = False,
) -> None:
    """Let a disabled recurring run start runs again."""
    with _connected(_load(host, config, None, overrides)) as client:
        client.enable_recurring_run(recurring_run_id)
    _say(recurring_run_id, "enabled", as_json)


@schedule.command(epilog=options.examples("kubeflow schedule delete ID"))
def delete(
    recurring_run_id: RecurringRunId,
    host: Host = None,
    config: options.ConfigFile = None,
    overrides: options.Overrides = None,
    as_json: options.Json = False,
) -> None:
    """Remove a recurring run."""
    with _connected(_load(host, config, None, overrides)) as client:
        client.delete_recurring_run(recurring_run_id)
    _say(recurring_run_id, "deleted", as_json)


def _load(
    host: str | None, config: Path | None, preset: str | None, overrides: list[str] | None
) -> "Config":
    from pipeline.settings.load import load_config

    return load_config(preset, config, overrides or [], kubeflow__host=host)


@contextmanager
def _connected(settings: "Config") -> "Iterator[KubeflowClient]":
    """Yields the client; what the server refuses ends the program with a sentence and code 1."""
    from orchestration.kubeflow.client import KubeflowClient, KubeflowError

    try:
        yield KubeflowClient(settings.kubeflow)
    except KubeflowError as error:
        typer.echo(f"runner.py: {error}", err=True)
        raise typer.Exit(1) from None


def _compiled(settings: "Config", settings_file: Path | None) -> Path:
    from orchestration.kubeflow.in_cluster import in_cluster

    in_cluster(settings)  # Refuses at once what the compiler refuses after its imports.
    typer.echo("compiling the pipeline, which takes half a minute", err=True)
    from orchestration.kubeflow.compiler import compile_kubeflow

    return compile_kubeflow(settings, settings.workdir / "kubeflow", settings_file=settings_file)


def _show(recurring_runs: "list[RecurringRun]", as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([entry.model_dump() for entry in recurring_runs]))
        return
    for entry in recurring_runs:
        state = "enabled" if entry.enabled else "disabled"
        typer.echo(f"{entry.recurring_run_id}  {entry.name}  {entry.cron}  {state}")


def _say(recurring_run_id: str, state: str, as_json: bool) -> None:
    result = {"recurring_run_id": recurring_run_id, "state": state}
    typer.echo(json.dumps(result) if as_json else f"{recurring_run_id} is {state}")
