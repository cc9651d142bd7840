"""How a judgement of the version on trial is come to on the command line, said, and exited with."""

import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pipeline.settings.config import Config
    from serving.edge.canary import Trial
    from serving.edge.judge import Judge
    from serving.edge.judgement import Judgement

_WORSE = 9
_NOT_JUDGED = 1
_LOOK_SECONDS = 10.0


def judge_of(settings: "Config", trial: "Trial") -> "Judge":
    """Returns who judges trials of the configured model, by the edge's logs."""
    from serving.edge.judge import Judge

    limits = settings.canary.limits(records=settings.traffic.sample > 0)
    return Judge(trial, settings.edge_dir, limits)


def watch(judge: "Judge") -> "Judgement | None":
    """Judges what is on trial until that has ended; says on the way what changes."""
    current = judge.trial.current()
    return judge.watch(current.version, _LOOK_SECONDS, sys.stderr) if current else None


def end_with(found: "Judgement | None", as_json: bool, *, watched: bool) -> None:
    """Prints a judgement, and exits with 9 if the version was taken back.

    After watching, a trial that ended without a judgement is exit code 1.
    """
    from serving.edge.judgement import Verdict

    if as_json:
        print(found.model_dump_json() if found else "null")
    else:
        _print(found)
    if found and found.verdict is Verdict.ABORT:
        raise typer.Exit(_WORSE)
    if found and watched and found.verdict is Verdict.WAIT:
        raise typer.Exit(_NOT_JUDGED)


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
