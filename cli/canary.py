"""`runner.py models canary`, `promote` and `abort`: a new version before a share of the clients."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import judging
from cli.options import ConfigFile, Json, Overrides, Workdir, examples
from cli.outcome import say, usage_errors

if TYPE_CHECKING:
    from pipeline.settings.config import Config
    from serving.edge.canary import Canary, Trial

app = typer.Typer()

Server = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="REST address of the model server behind the edge. [push.live_server]",
    ),
]


@app.command(
    epilog=examples(
        "models canary 1795240112 --percent 10 --server localhost:8501",
        "models canary 1795240112 --percent 10 --watch --server localhost:8501",
        "models canary --json",
    )
)
def canary(
    version: Annotated[
        int | None, typer.Argument(help="The newest version; left out: say what is on trial.")
    ] = None,
    percent: Annotated[
        int | None, typer.Option(min=0, max=100, help="Share of the clients that meet it.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Judge it every ten seconds until the trial has ended.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    workdir: Workdir = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Have a share of the clients of `serve --edge` meet the newest version.

    Repeated with another share, it changes that: a client that met the version meets it still when
    the share grows. With --watch it is promoted or taken back (exit code 9) as `traffic judge`
    finds.
    """
    from pipeline.settings.errors import UsageError

    if (version is None) != (percent is None):
        raise UsageError("give the version and --percent, or neither to see what is on trial")
    with _trial(workdir, config, overrides, server) as (settings, trial):
        if version is None or percent is None:
            current = trial.current()
        else:
            current = trial.begin(version, percent, reason)
        if watch:
            print(_as_text(current), file=sys.stderr, flush=True)
            found = judging.watch(judging.judge_of(settings, trial))
    if watch:
        judging.end_with(found, as_json, watched=True)
    else:
        print((current.model_dump_json() if current else "null") if as_json else _as_text(current))


def _as_text(current: "Canary | None") -> str:
    if current is None:
        return "no version is on trial"
    return (
        f"version {current.version} meets {current.percent} % of the clients, version "
        f"{current.stable} the others, since {current.since:%Y-%m-%d %H:%M:%S} UTC"
    )


@app.command(epilog=examples("models promote --server localhost:8501"))
def promote(
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "promoted by hand",
    workdir: Workdir = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Have all clients meet the version on trial."""
    with _trial(workdir, config, overrides, server) as (_, trial):
        done = trial.promote(reason)
    say(as_json, {"promoted": done.version}, f"version {done.version} meets all clients")


@app.command(epilog=examples('models abort --reason "boots became bags"'))
def abort(
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "aborted by hand",
    workdir: Workdir = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Take the version on trial back: no client meets it, and it is rolled back."""
    with _trial(workdir, config, overrides, server) as (_, trial):
        done = trial.abort(reason)
    say(
        as_json,
        {"aborted": done.version, "serving": done.stable},
        f"version {done.version} is rolled back; version {done.stable} meets all clients",
    )


@contextmanager
def _trial(
    workdir: Path | None, config: Path | None, overrides: list[str] | None, server: str | None
) -> Iterator[tuple["Config", "Trial"]]:
    """Gives settings and the place of trials; what the user can set right becomes one sentence."""
    from pipeline.settings.load import load_config

    settings = load_config(None, config, overrides or [], workdir=workdir)
    with usage_errors():
        yield settings, trial_of(settings, server)


def trial_of(settings: "Config", server: str | None = None) -> "Trial":
    """Returns where trials of the configured model take place."""
    from pipeline.settings.errors import UsageError
    from serving.edge.canary import Trial
    from serving.versions.store import VersionStore

    if settings.pushes_to_uri:
        raise UsageError(
            "the edge works on local folders; push.destination is " + settings.serving_base
        )
    return Trial(
        store=VersionStore(settings.serving_dir, settings.push.permissions),
        model_name=settings.serving.model_name,
        server=server or settings.push.live_server,
    )
