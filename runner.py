"""The command line of the project; each verb is a thin call into a package."""

import signal
import sys
from typing import Annotated

import typer

from pipeline import data_cli, models_cli
from pipeline.options import ConfigFile, Json, ModelServer, Overrides, Preset, Workdir
from pipeline.orchestration import compile_cli
from pipeline.orchestration.kubeflow import cli as kubeflow_cli
from pipeline.orchestration.schedule import cli as schedule_cli

app = typer.Typer(
    help="Trains, judges and serves a Fashion-MNIST classifier; without a verb: run.",
    add_completion=False,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(compile_cli.app, name="compile")
app.add_typer(data_cli.app, name="data")
app.add_typer(kubeflow_cli.app, name="kubeflow")
app.add_typer(models_cli.app, name="models")
app.command()(schedule_cli.schedule)


@app.command()
def run(
    workdir: Workdir = None,
    config: ConfigFile = None,
    preset: Preset = None,
    overrides: Overrides = None,
    model_server: ModelServer = None,
    baseline: Annotated[
        bool | None, typer.Option(help="Compare with the model being served. [yes]")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the pipeline: data to a pushed model. Does nothing when nothing changed."""
    from pipeline.config import load_config
    from pipeline.orchestration.command import run_command

    settings = load_config(
        preset,
        config,
        overrides or [],
        workdir=workdir,
        infra_validation__model_server=model_server,
        evaluation__baseline=baseline,
    )
    raise typer.Exit(run_command(settings, as_json=as_json))


def main() -> None:
    """Runs the command line; a user's mistake is one sentence and exit code 2."""
    # A shell starts background jobs with SIGINT ignored; a run can be interrupted all the same.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    arguments = sys.argv[1:]
    if not arguments or (arguments[0].startswith("-") and arguments[0] != "--help"):
        arguments = ["run", *arguments]
    from pipeline.errors import UsageError

    try:
        app(arguments, prog_name="runner.py")
    except UsageError as error:
        print(f"runner.py: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
