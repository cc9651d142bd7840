"""`runner.py traffic judge`: the version on trial is promoted or taken back, for stated reasons."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from cli.canary import Server, trial_of
from cli.options import ConfigFile, Json, Overrides, Workdir, examples
from cli.outcome import usage_errors

if TYPE_CHECKING:
    from serving.edge.judgement import Judgement

app = typer.Typer()

_WORSE = 9
_LOOK_SECONDS = 10.0


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
    from pipeline.settings.load import load_config
    from serving.edge.judge import Judge
    from serving.edge.judgement import Verdict

    settings = load_config(None, config, overrides or [], workdir=workdir)
    limits = settings.canary.limits(records=settings.traffic.sample > 0)
    with usage_errors():
        judging = Judge(trial_of(settings, server), settings.edge_dir, limits)
        while True:
            found = judging.judge() if dry_run else judging.act()
            if found is None or found.verdict is not Verdict.WAIT or not watch:
                break
            print(found.reasons[0], file=sys.stderr, flush=True)
            time.sleep(_LOOK_SECONDS)
    if as_json:
        print(found.model_dump_json() if found else "null")
    else:
        _print(found)
    if found and found.verdict is Verdict.ABORT:
        raise typer.Exit(_WORSE)


def _print(found: "Judgement | None") -> None:
    if found is None:
        print("no version is on trial")
        return
    print(f"{found.verdict}: {'; '.join(found.reasons)}")
    for figures in found.variants:
        times = (
            f"{figures.p50_ms} ms median, {figures.p99_ms} ms p99"
            if figures.p50_ms is not None
            else "no answers"
        )
        print(
            f"  {figures.variant:<8}{figures.requests:>8} requests{figures.errors:>6} errors  "
            f"{times}"
        )
