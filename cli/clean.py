"""`runner.py clean`: removes what only runs of long ago needed."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import ConfigFile, Json, Overrides, Workdir, examples

if TYPE_CHECKING:
    from pipeline.settings.config import Config
    from runs.retention import Cleaning

app = typer.Typer()

_FAILED = 1


@app.command(
    epilog=examples(
        "clean --dry-run",
        "clean --set retention.runs=5",
        "clean --workdir /data/fashion --json",
    )
)
def clean(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would go, and remove nothing.")
    ] = False,
    workdir: Workdir = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Remove what only old runs needed: results, logs, reports, artifacts and leftovers of kills.

    Every run does so at its end. The newest runs stay (retention.runs), and those of versions
    that are in the serving directory, with everything that TFX's cache takes from them.
    """
    from files.lock import WorkdirBusy
    from pipeline.settings.errors import UsageError
    from pipeline.settings.load import load_config
    from runs.exit_status import Status

    settings = load_config(None, config, overrides or [], workdir=workdir)
    if not settings.workdir.exists():
        raise UsageError(f"there is no workdir {settings.workdir}; --workdir says where it is")
    try:
        cleaning = _clean(settings, dry_run)
    except WorkdirBusy as busy:
        typer.echo(f"runner.py: {busy}", err=True)
        raise typer.Exit(Status.BUSY.exit_code) from None
    print(json.dumps(_as_json(cleaning, dry_run)) if as_json else _as_text(cleaning, dry_run))
    for failure in cleaning.failures:
        typer.echo(f"runner.py: {failure}", err=True)
    if cleaning.failures:
        raise typer.Exit(_FAILED)


def _clean(settings: "Config", dry_run: bool) -> "Cleaning":
    from contextlib import nullcontext

    from files import lock
    from orchestration.terminal import tensorflow_silent
    from runs import retention

    with nullcontext() if dry_run else lock.exclusive(settings.workdir), tensorflow_silent():
        # Imports TFX.
        from pipeline.metadata_connection import connection_config

        return retention.clean(
            settings.workdir,
            settings.serving_base,
            settings.retention.runs,
            connection_config(settings),
            retention.Recorded(settings.recordings_dir, settings.traffic.keep_days),
            dry_run=dry_run,
        )


def _as_json(cleaning: "Cleaning", dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "kept_runs": cleaning.kept_runs,
        "removed": {kind: list(map(str, paths)) for kind, paths in cleaning.doomed.items()},
        "bytes": sum(cleaning.sizes.values()),
    }


def _as_text(cleaning: "Cleaning", dry_run: bool) -> str:
    would_remove = "would remove" if dry_run else "removed"
    if not cleaning.doomed:
        return f"{would_remove} nothing"
    total = sum(cleaning.sizes.values()) / 1e6
    lines = [f"{would_remove} {total:.1f} MB; runs that stay: {len(cleaning.kept_runs)}"]
    lines += [
        f"  {kind:<16}{len(paths):>6}{cleaning.sizes[kind] / 1e6:>10.1f} MB"
        for kind, paths in cleaning.doomed.items()
    ]
    return "\n".join(lines)
