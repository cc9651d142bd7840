"""The verbs under `traffic` on the command line: what clients asked, and what follows from it."""

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import typer

from cli.options import ConfigFile, Json, Overrides, Workdir, examples

app = typer.Typer(
    name="traffic",
    help="What clients asked of the served model: recorded, compared, handed on.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(epilog=examples("traffic show", "traffic show --json"))
def show(
    workdir: Workdir = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Say what is recorded: how many pictures of which version, and since when."""
    from orchestration.terminal import tensorflow_silent
    from pipeline.settings.load import load_config

    settings = load_config(None, config, overrides or [], workdir=workdir)
    with tensorflow_silent():
        from serving.traffic.reading import newest, recordings

        model = settings.serving.model_name
        files = recordings(settings.recordings_dir, model)
        pictures = newest(settings.recordings_dir, model)
    size = sum(path.stat().st_size for path in files)
    counts = Counter((each.origin.variant, each.origin.version) for each in pictures)
    times = [each.origin.time for each in (pictures[:1] + pictures[-1:])]
    found: dict[str, Any] = {
        "directory": str(settings.recordings_dir),
        "files": len(files),
        "bytes": size,
        "since": _text(times[0]) if times else None,
        "until": _text(times[-1]) if times else None,
        "recorded": [
            {"variant": variant, "version": version, "pictures": count}
            for (variant, version), count in sorted(counts.items())
        ],
    }
    if as_json:
        print(json.dumps(found))
        return
    print(f"{len(pictures)} pictures in {len(files)} files, {size / 1e6:.1f} MB, in", end=" ")
    print(settings.recordings_dir)
    for row in found["recorded"]:
        print(f"  version {row['version']:<12}{row['variant']:<8}{row['pictures']:>8}")
    if times:
        print(f"  from {found['since']} to {found['until']}")


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
