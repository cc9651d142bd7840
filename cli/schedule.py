"""`runner.py schedule`: runs that start by themselves."""

import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import options

if TYPE_CHECKING:
    from orchestration.schedule.model_schedule import ModelSchedule
    from pipeline.settings.config import Config

app = typer.Typer()


@app.command(
    epilog=options.examples(
        'schedule --cron "0 3 * * *"',
        "schedule --watch var/data/spans",
        "schedule --config clothes.toml --config shoes.toml",
        "schedule --once --preset smoke --json",
    )
)
def schedule(
    cron: Annotated[
        str | None, typer.Option(metavar="EXPRESSION", help="Five fields. [schedule.cron]")
    ] = None,
    watch: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A new span in it starts a run.")
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="One run now, with its retries; for cron itself.")
    ] = False,
    workdir: options.Workdir = None,
    config: Annotated[
        list[Path] | None,
        typer.Option("--config", help="A TOML file of settings; one for each of several models."),
    ] = None,
    preset: options.Preset = None,
    overrides: options.Overrides = None,
    model_server: options.ModelServer = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The result of every run, one JSON object a line.")
    ] = False,
) -> None:
    """Run whenever it is time or a span arrives, until it is stopped.

    Ctrl-C or SIGTERM stops it. Without --cron and --watch it does both: by the settings' cron
    expression, and for new spans in the workdir. The exit code is that of the last run; with
    several models, the highest of theirs.
    """
    from cli.verify import check_signing_key
    from data.layout import spans_folder
    from orchestration.schedule.scheduler import refuse_shared
    from pipeline.settings.errors import UsageError
    from pipeline.settings.load import load_config

    files: list[Path | None] = [*config] if config else [None]
    if watch and len(files) > 1:
        raise UsageError("--watch names one folder; leave it out, and each model has its own")
    flags = {"schedule__cron": cron, "infra_validation__model_server": model_server}
    configs = {
        file: load_config(preset, file, overrides or [], workdir=workdir, **flags) for file in files
    }
    if len(configs) < len(files):
        raise UsageError("--config names one file twice")
    refuse_shared({str(file): settings for file, settings in configs.items()})
    for settings in configs.values():
        check_signing_key(settings)
    _log_to_stderr()
    models = [
        _model_schedule(
            settings,
            command_for(["run", "--json"], settings, file, overrides or [], preset, model_server),
            [] if once else command_for(["traffic", "report"], settings, file, overrides or []),
            uses_cron=not once and (cron is not None or watch is None),
            watch=None
            if once or (cron and not watch)
            else watch or spans_folder(settings.data_root),
            as_json=as_json,
        )
        for file, settings in configs.items()
    ]
    raise typer.Exit(_run(models, once=once))


def command_for(
    verb: list[str],
    settings: "Config",
    config: Path | None,
    overrides: list[str],
    preset: str | None = None,
    model_server: str | None = None,
) -> list[str]:
    """Returns the command that does what a verb does under the same settings."""
    from pipeline.settings.paths import ROOT

    command = [sys.executable, str(ROOT / "runner.py"), *verb]
    command += ["--workdir", str(settings.workdir)]
    if config:
        command += ["--config", str(config.resolve())]
    if preset:
        command += ["--preset", preset]
    if model_server:
        command += ["--model-server", model_server]
    for override in overrides:
        command += ["--set", override]
    return command


def _model_schedule(
    settings: "Config",
    command: list[str],
    report: list[str],
    *,
    uses_cron: bool,
    watch: Path | None,
    as_json: bool,
) -> "ModelSchedule":
    from orchestration.schedule.cron import Cron
    from orchestration.schedule.model_schedule import ModelSchedule

    # Read in any case: a wrong expression is said at once.
    cron = Cron(settings.schedule.cron, settings.schedule.time_zone)
    return ModelSchedule(
        settings,
        command,
        cron=cron if uses_cron else None,
        watched=watch and watch.resolve(),
        on_result=_print_result if as_json else None,
        report_command=report,
    )


def _run(models: "list[ModelSchedule]", *, once: bool) -> int:
    from files.lock import WorkdirBusy
    from orchestration.schedule.scheduler import Scheduler
    from runs.exit_status import Status

    scheduler = Scheduler(models)
    try:
        return scheduler.once() if once else scheduler.serve()
    except WorkdirBusy as busy:
        typer.echo(f"runner.py: {busy}", err=True)
        return Status.BUSY.exit_code


def _log_to_stderr() -> None:
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )


def _print_result(result: Mapping[str, Any]) -> None:
    print(json.dumps(result), flush=True)
