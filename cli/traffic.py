"""The verbs under `traffic` on the command line: what clients asked, and what follows from it."""

import json
import logging
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from cli import judge
from cli.options import ConfigFile, Json, Overrides, Workdir, examples, in_full
from pipeline.settings.errors import UsageError

if TYPE_CHECKING:
    from orchestration.terminal import Terminal
    from pipeline.settings.config import Config
    from pipeline.traffic.report import TrafficReport

app = typer.Typer(
    name="traffic",
    help="What clients asked of the served model: recorded, compared, handed on.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(judge.app)

_FAILED = 1
_BAD_USAGE = 2
_DATA_REFUSED = 5
_DRIFT = 9

_Last = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Only the newest N recorded pictures. [all]")
]


@app.command(epilog=examples("traffic show", "traffic show --json"))
def show(
    workdir: Workdir = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Say what is recorded: how many pictures of which version, and since when."""
    from orchestration.terminal import tensorflow_silent

    settings = _settings(workdir, config, overrides)
    with tensorflow_silent():
        from serving.traffic.files import recordings
        from serving.traffic.reading import newest

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


@app.command(epilog=examples("traffic report", "traffic report --last 400 --json"))
def report(
    last: _Last = None,
    workdir: Workdir = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Compare what is recorded with what the served version was trained on.

    The exit code is 9 if it is further away than chance and traffic.max_distance allow. The report
    is also a page, metrics, and with schedule.webhook a message.
    """
    settings = _settings(workdir, config, overrides)
    terminal = _quiet(settings)
    try:
        from orchestration.traffic_report import report_traffic

        found = report_traffic(settings, last)
    except Exception as error:
        _give_up(error, "no report was made", settings, terminal)
    if as_json:
        print(found.model_dump_json(), file=terminal.stdout)
    else:
        print(_as_text(found), file=terminal.stdout)
    if found.drift:
        raise typer.Exit(_DRIFT)


@app.command(epilog=examples("traffic export --least-confident 200 --output to_label"))
def export(
    output: Annotated[Path, typer.Option(help="The folder to write.", callback=in_full)],
    least_confident: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many of those with the unsurest answers.")
    ] = 200,
    last: _Last = None,
    workdir: Workdir = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Lay recorded pictures out in a folder per predicted class.

    Move what is wrong into the right folder, remove what is nothing, then `data ingest` the folder.
    """
    settings = _settings(workdir, config, overrides)
    terminal = _quiet(settings)
    try:
        from pipeline.traffic.answers import answers_to
        from pipeline.traffic.export import export_least_confident
        from serving.traffic.reading import newest
        from serving.versions.store import VersionStore

        labels = settings.data.labels
        pictures = newest(settings.recordings_dir, settings.serving.model_name, last, labels)
        answers = answers_to(pictures, VersionStore(settings.serving_base))
        done = export_least_confident(
            pictures, answers, least_confident, output, labels, settings.image_format
        )
    except FileExistsError:
        print(f"runner.py: {output} is not empty; name a new folder", file=terminal.stderr)
        raise typer.Exit(_BAD_USAGE) from None
    except Exception as error:
        _give_up(error, "nothing was exported", settings, terminal)
    count = sum(done.classes.values())
    if as_json:
        found = {"output": str(output), "pictures": count, "classes": done.classes}
        print(json.dumps(found | {"copies": done.copies}), file=terminal.stdout)
        return
    print(f"{count} pictures are in {output}, in a folder for each class.", file=terminal.stdout)
    print("Move what is wrong, remove what is nothing, then:", file=terminal.stdout)
    print(f"  python runner.py data ingest {output}", file=terminal.stdout)


@app.command(epilog=examples("traffic labels truth.csv", "traffic labels truth.jsonl --json"))
def labels(
    file: Annotated[Path, typer.Argument(help="CSV or JSON lines with `request_id` and `label`.")],
    workdir: Workdir = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Take in true labels of recorded requests: they give the live accuracy of each version.

    Anything unsound is listed, and refuses them all. Labels of requests that are not in the
    recording are counted, and not kept.
    """
    from data.refusal import DataRefused
    from pipeline.traffic.live_labels import live_accuracy, read_labels, take_in

    settings = _settings(workdir, config, overrides)
    if not file.is_file():
        raise UsageError(f"there is no file {file}; it has the columns request_id and label")
    try:
        wanted = read_labels(file, settings.data.labels)
    except DataRefused as refusal:
        for reason in refusal.reasons:
            print(reason, file=sys.stderr)
        print("Nothing was taken in.", file=sys.stderr)
        raise typer.Exit(_DATA_REFUSED) from None
    terminal = _quiet(settings)
    try:
        unknown = take_in(settings, wanted)
    except Exception as error:
        _give_up(error, "no label was taken in", settings, terminal)
    accuracy = live_accuracy(settings.traffic_dir)
    if as_json:
        found = {"taken": len(wanted) - len(unknown), "unknown": unknown}
        rows = [{**each.model_dump(), "accuracy": each.accuracy} for each in accuracy]
        print(json.dumps({**found, "accuracy": rows}), file=terminal.stdout)
        return
    print(f"{len(wanted) - len(unknown)} labels were taken in.", file=terminal.stdout)
    if unknown:
        more = ", ..." if len(unknown) > 3 else ""
        some = ", ".join(unknown[:3])
        print(f"{len(unknown)} are of no recorded request: {some}{more}", file=terminal.stdout)
    for each in accuracy:
        print(
            f"  version {each.version:<12}{each.accuracy:.4f} of {each.labelled}",
            file=terminal.stdout,
        )


def _settings(workdir: Path | None, config: Path | None, overrides: list[str] | None) -> "Config":
    from pipeline.settings.load import load_config

    settings = load_config(None, config, overrides or [], workdir=workdir)
    if not settings.workdir.exists():
        raise UsageError(f"there is no workdir {settings.workdir}; --workdir says where it is")
    return settings


def _quiet(settings: "Config") -> "Terminal":
    """Sends what TensorFlow, TFX and Beam write to a log."""
    from orchestration.terminal import redirect_to

    terminal = redirect_to(_log(settings))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    return terminal


def _log(settings: "Config") -> Path:
    return settings.logs_dir / "traffic.log"


def _give_up(error: Exception, what: str, settings: "Config", terminal: "Terminal") -> NoReturn:
    logging.getLogger().error(what, exc_info=error)
    reason = " ".join(str(error).split())
    print(f"{what}: {reason}; the log is {_log(settings)}", file=terminal.stderr)
    raise typer.Exit(_FAILED) from None


def _as_text(found: "TrafficReport") -> str:
    lines = []
    for each in found.variants:
        confidence = f", mean confidence {each.confidence:.3f}" if each.confidence else ""
        lines.append(f"{each.variant}: {each.requests} requests{confidence}")
    for live in found.accuracy:
        lines.append(f"version {live.version}: {live.accuracy:.4f} of {live.labelled} labelled")
    lines += [
        f"  {each.feature:<16}{each.distance:>7.3f} of {each.limit:.3f}"
        f"  {'drift' if each.drift else ''}".rstrip()
        for each in found.features
    ]
    lines += [f"  - {reason}" for reason in found.reasons]
    if found.page:
        lines.append(f"the page is {found.page}")
    beside = f"{found.pictures} pictures beside the training data of version {found.version}"
    lines.append(
        f"drift: {beside}"
        if found.drift
        else f"no drift: {beside}"
        if found.features
        else "nothing was compared"
    )
    return "\n".join(lines)


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
