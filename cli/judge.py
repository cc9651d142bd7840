"""`runner.py traffic judge`: the version on trial is promoted or taken back, for stated reasons."""

from typing import Annotated

import typer

from cli import judging
from cli.canary import Server, trial_of
from cli.options import ConfigFile, Json, Overrides, Workdir, examples
from cli.outcome import usage_errors

app = typer.Typer()


@app.command(
    epilog=examples(
        "traffic judge --server localhost:8501",
        "traffic judge --watch --server localhost:8501",
        "traffic judge --dry-run --json",
    )
)
def judge(
    watch: Annotated[
        bool, typer.Option("--watch", help="Look every ten seconds until the trial has ended.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    workdir: Workdir = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Compare the version on trial with the other one; promote it, take it back, or wait.

    Exit code 9: it is worse, and was taken back. Without --watch it looks once, for cron: what was
    seen is in the edge's log, so it does not matter who looks, how often, or whether it was
    interrupted.
    """
    from pipeline.settings.errors import UsageError
    from pipeline.settings.load import load_config

    if watch and dry_run:
        raise UsageError("--watch waits for the end that --dry-run forbids: give one of them")
    settings = load_config(None, config, overrides or [], workdir=workdir)
    with usage_errors():
        judge = judging.judge_of(settings, trial_of(settings, server))
        found = judging.watch(judge) if watch else judge.judge() if dry_run else judge.act()
    judging.end_with(found, as_json, watched=watch)
