#!/usr/bin/env -S uv run
"""The command line of the project; each verb is a thin call into a package."""

import errno
import signal
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from pipeline import data_cli, doctor_cli, models_cli, predict_cli, serve_cli, tune_cli
from pipeline.options import ConfigFile, Json, ModelServer, Overrides, Preset, Workdir, examples
from pipeline.orchestration import compile_cli
from pipeline.orchestration.kubeflow import cli as kubeflow_cli
from pipeline.orchestration.schedule import cli as schedule_cli
from reporting import cli as report_cli

app = typer.Typer(
    help="Trains, judges and serves a Fashion-MNIST classifier; without a verb: run.",
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_NEEDS_NO_VERB = ("--help", "--install-completion", "--show-completion")

# What a path brings that somebody gave: a file where a folder is needed, or no right to write.
_UNUSABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)

app.add_typer(compile_cli.app, name="compile")
app.add_typer(data_cli.app, name="data")
app.add_typer(kubeflow_cli.app, name="kubeflow")
app.add_typer(models_cli.app, name="models")


@app.command(
    epilog=examples(
        "",
        "run --preset smoke",
        "run --set training.epochs=12 --set evaluation.min_accuracy=0.92",
        "run --config mine.toml --workdir /data/fashion --json",
    )
)
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


app.command(epilog=tune_cli.EXAMPLES)(tune_cli.tune)
app.command(epilog=serve_cli.EXAMPLES)(serve_cli.serve)
app.command(epilog=predict_cli.EXAMPLES)(predict_cli.predict)
app.command(epilog=report_cli.EXAMPLES)(report_cli.report)
app.command(epilog=doctor_cli.EXAMPLES)(doctor_cli.doctor)
app.command(epilog=schedule_cli.EXAMPLES)(schedule_cli.schedule)


def main() -> None:
    """Runs the command line; a user's mistake is one sentence and exit code 2."""
    # A shell starts background jobs with SIGINT ignored; a run can be interrupted all the same.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    arguments = sys.argv[1:]
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in _NEEDS_NO_VERB):
        arguments = ["run", *arguments]
    from pipeline.errors import UsageError

    try:
        sys.exit(app(arguments, prog_name="runner.py", standalone_mode=False))
    except UsageError as error:
        print(f"runner.py: {error}", file=sys.stderr)
        sys.exit(2)
    except TyperException as error:
        print(_usage_sentence(error), file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in _UNUSABLE or error.filename is None:
            raise
        print(f"runner.py: cannot use {error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(2)


def _usage_sentence(error: TyperException) -> str:
    message = error.format_message()
    if "\n" in message:  # the help of a group that was called without a verb
        return message
    context = getattr(error, "ctx", None)
    place = context.command_path if context else "runner.py"
    return f"runner.py: {message.rstrip('.')}; `python {place} --help` shows what there is"


if __name__ == "__main__":
    main()
