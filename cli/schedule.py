"""`runner.py schedule`: runs that start by themselves."""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options

if TYPE_CHECKING:
    from pipeline.settings.config import Config
    from runs.result import RunResult

app = typer.Typer()


@app.command(
    epilog=options.examples(
        'schedule --cron "0 3 * * *"',
        "schedule --watch var/data/spans",
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
    config: options.ConfigFile = None,
    preset: options.Preset = None,
    overrides: options.Overrides = None,
    model_server: options.ModelServer = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The result of every run, one JSON object a line.")
    ] = False,
) -> None:
    """Run whenever it is time or a span arrives, until it is stopped.

    Ctrl-C or SIGTERM stops it. Without --cron and --watch it does both: by the settings' cron
    expression, and for new spans in the workdir. The exit code is that of the last run.
    """
    from cli.verify import check_signing_key
    from pipeline.settings.load import load_config

    settings = load_config(
        preset,
        config,
        overrides or [],
        workdir=workdir,
        schedule__cron=cron,
        infra_validation__model_server=model_server,
    )
    check_signing_key(settings)
    command = run_command(settings, config, preset, overrides or [], model_server)
    raise typer.Exit(_serve(settings, command, cron, watch, once, as_json))


def run_command(
    settings: "Config",
    config: Path | None,
    preset: str | None,
    overrides: list[str],
    model_server: str | None,
) -> list[str]:
    """Returns the command that makes one run under the same settings."""
    from pipeline.settings.paths import ROOT

    command = [sys.executable, str(ROOT / "runner.py"), "run", "--json"]
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


def _serve(
    settings: "Config",
    command: list[str],
    cron: str | None,
    watch: Path | None,
    once: bool,
    as_json: bool,
) -> int:
    from files.lock import WorkdirBusy
    from orchestration.schedule.cron import cron_trigger
    from orchestration.schedule.scheduler import Scheduler
    from runs.result import Status

    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    scheduler = Scheduler(settings, command, _print_result if as_json else None)
    both = not cron and not watch
    trigger = cron_trigger(settings.schedule.cron, settings.schedule.time_zone)
    spans = settings.data_root / "spans" if both else watch
    try:
        if once:
            return scheduler.once()
        return scheduler.serve(trigger if cron or both else None, spans and spans.resolve())
    except WorkdirBusy as busy:
        typer.echo(f"runner.py: {busy}", err=True)
        return Status.BUSY.exit_code


def _print_result(result: "RunResult") -> None:
    print(result.model_dump_json(), flush=True)
