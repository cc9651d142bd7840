"""The verbs under `data` on the command line."""

import json
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from cli.options import ConfigFile, Json, Overrides, Preset, Workdir, examples
from pipeline.settings.errors import UsageError

if TYPE_CHECKING:
    from data.idx import Bytes

app = typer.Typer(
    name="data",
    help="Get the images, take in or prepare your own, release spans.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


_FAILED = 1
_DATA_REFUSED = 5


@app.command(epilog=examples("data fetch", "data fetch --from ~/Downloads/fashion"))
def fetch(
    source: Annotated[
        Path | None, typer.Option("--from", help="A folder that holds the four files.")
    ] = None,
    workdir: Workdir = None,
    config: ConfigFile = None,
    preset: Preset = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Get the four official files, and verify them.

    The first source that has them is used.
    """
    from data.fashion_mnist import DatasetError, obtain
    from orchestration.progress import Progress

    settings = _settings(workdir, config, preset, overrides)
    if not settings.fetches_data:
        raise UsageError(f"the data is taken as it is in {settings.data_root}: nothing to fetch")
    try:
        with Progress(sys.stderr):
            done = obtain(settings.base_dir, source or settings.data.source)
    except DatasetError as error:
        _fail(_FAILED, [str(error)], as_json)
    served = " and ".join(done.sources)
    what = f"came from {served}" if served else "were there already"
    _show(
        f"Four verified files in {done.folder}: they {what}.",
        {"status": "fetched", "folder": str(done.folder), "sources": done.sources},
        as_json,
    )


@app.command(epilog=examples("data split --spans 7"))
def split(
    spans: Annotated[int, typer.Option(help="How many daily spans.")],
    workdir: Workdir = None,
    config: ConfigFile = None,
    preset: Preset = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Lay the official training images out as spans, to play with."""
    from data.idx import IdxError
    from data.layout import base_folder
    from data.split_into_spans import SplitError, lay_out

    root = _span_root(_settings(workdir, config, preset, overrides))
    try:
        numbers = lay_out(base_folder(root), root, spans)
    except SplitError as error:
        raise UsageError(str(error)) from None
    except IdxError as error:
        raise UsageError(f"{error}; `runner.py data fetch` gets the official files") from None
    _show(
        f"Spans {numbers[0]} to {numbers[-1]} in {root / 'spans'}.",
        {"status": "split", "spans": numbers, "folder": str(root / "spans")},
        as_json,
    )


@app.command(epilog=examples("data ingest new_photos/ --fit", "data ingest labelled.npz --json"))
def ingest(
    path: Annotated[Path, typer.Argument(help="IDX pair, folder of a folder per class, or .npz.")],
    fit: Annotated[
        bool, typer.Option(help="Scale pictures of any size and colour, as the model does.")
    ] = False,
    workdir: Workdir = None,
    config: ConfigFile = None,
    preset: Preset = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Take labelled images in as the next span.

    Anything unsound is listed, and refuses them all.
    """
    from data import spans
    from data.ingest import UnknownForm, read
    from data.refusal import DataRefused
    from orchestration.terminal import tensorflow_silent
    from pipeline.modeling.features import IMAGE_SIZE

    settings = _settings(workdir, config, preset, overrides)
    root = _span_root(settings)
    try:
        with tensorflow_silent():
            found = read(path, settings.data.labels, IMAGE_SIZE, _decode if fit else None)
    except UnknownForm as error:
        raise UsageError(str(error)) from None
    except DataRefused as refusal:
        _fail(_DATA_REFUSED, refusal.reasons, as_json)
    added = spans.add(root, found.images, found.labels)
    count = len(found.labels)
    _show(
        f"{count} images are span {added.span} in {root / 'spans'}."
        if added.is_new
        else f"Nothing new: these {count} images are span {added.span} already.",
        {
            "status": "ingested" if added.is_new else "known",
            "span": added.span,
            "images": count,
            "folder": str(root / "spans" / str(added.span)),
        },
        as_json,
    )


@app.command(epilog=examples("data prepare photos/ --output my_classes"))
def prepare(
    pictures: Annotated[Path, typer.Argument(help="A folder of PNG or JPEG files per class.")],
    output: Annotated[Path, typer.Option(help="The folder to write; it gets settings.toml.")],
    name: Annotated[str | None, typer.Option(help="Name of the model. [the output's name]")] = None,
    as_json: Json = False,
) -> None:
    """Make a data root and settings for classes of your own.

    Anything unsound is listed, and refuses them all; see docs/own_classes.md.
    """
    from data.prepare import PrepareError
    from data.prepare import prepare as write
    from data.refusal import DataRefused
    from orchestration.terminal import tensorflow_silent
    from pipeline.modeling.features import IMAGE_SIZE
    from pipeline.settings.paths import SCHEMA_FILE

    root = output.expanduser().resolve()
    model_name = name or re.sub(r"[^A-Za-z0-9_.-]", "_", root.name)
    schema = SCHEMA_FILE.read_text()
    try:
        with tensorflow_silent():
            done = write(pictures, root, IMAGE_SIZE, _decode, schema, model_name)
    except PrepareError as error:
        raise UsageError(str(error)) from None
    except DataRefused as refusal:
        _fail(_DATA_REFUSED, refusal.reasons, as_json)
    _show(
        f"{done.train} images to train on and {done.test} to test on, of the classes "
        f"{', '.join(done.labels)}, are in {root}.\nnext:\n"
        f"  python runner.py --config {shlex.quote(str(done.settings))}",
        {
            "status": "prepared",
            "settings": str(done.settings),
            "labels": done.labels,
            "train": done.train,
            "test": done.test,
        },
        as_json,
    )


@app.command("list", epilog=examples("data list", "data list --json"))
def list_spans(
    workdir: Workdir = None,
    config: ConfigFile = None,
    preset: Preset = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """List the spans: how many images, which state, since when, and why."""
    from cli.tables.spans import listed_spans, print_spans

    settings = _settings(workdir, config, preset, overrides)
    found = listed_spans(settings)
    if as_json:
        print(json.dumps([span.model_dump(mode="json") for span in found]))
    else:
        print_spans(found, settings.data_root)


@app.command(epilog=examples('data quarantine 3 --reason "the lens was dirty"'))
def quarantine(
    span: Annotated[int, typer.Argument(help="Number of the span.")],
    reason: Annotated[str, typer.Option(help="Why, for the record.")],
    workdir: Workdir = None,
    config: ConfigFile = None,
    preset: Preset = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Leave a span out of every later run, until it is released."""
    from data.quarantine import QuarantineError
    from data.quarantine import quarantine as quarantine_span

    root = _span_root(_settings(workdir, config, preset, overrides))
    try:
        quarantine_span(root, span, reason)
    except QuarantineError as error:
        raise UsageError(str(error)) from None
    _show(
        f"Span {span} is quarantined: {reason}",
        {"status": "quarantined", "span": span, "reason": reason},
        as_json,
    )


@app.command(epilog=examples("data release 3"))
def release(
    span: Annotated[int, typer.Argument(help="Number of the quarantined span.")],
    workdir: Workdir = None,
    config: ConfigFile = None,
    preset: Preset = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Take a quarantined span back into later windows."""
    from data.quarantine import QuarantineError
    from data.quarantine import release as release_span

    root = _span_root(_settings(workdir, config, preset, overrides))
    try:
        released = release_span(root, span)
    except QuarantineError as error:
        raise UsageError(str(error)) from None
    _show(
        f"Span {span} is released; it was quarantined on {released.since}: {released.reason}",
        {
            "status": "released",
            "span": span,
            "reason": released.reason,
            "since": released.since,
        },
        as_json,
    )


def _decode(encoded: bytes) -> "Bytes":
    """Does what the model's own graph does to a picture before it is scaled."""
    import tensorflow as tf

    from pipeline.modeling.preprocessing import decode_images

    try:
        pixels = decode_images(tf.constant([encoded])).numpy()[0, :, :, 0]
    except tf.errors.InvalidArgumentError:
        raise ValueError("its content is neither PNG nor JPEG, or damaged") from None
    return pixels.round().astype("uint8")


def _settings(
    workdir: Path | None, config: Path | None, preset: str | None, overrides: list[str] | None
) -> Any:
    from pipeline.settings.load import load_config

    return load_config(preset, config, overrides or [], workdir=workdir)


def _span_root(settings: Any) -> Path:
    if settings.data.sample and not settings.data.root:
        raise UsageError(
            "the sample in the repository takes no spans: use another preset, or give data.root"
        )
    root: Path = settings.data_root
    return root


def _show(sentence: str, result: dict[str, Any], as_json: bool) -> None:
    print(json.dumps(result) if as_json else sentence)


def _fail(code: int, reasons: list[str], as_json: bool) -> NoReturn:
    if as_json:
        status = "data_refused" if code == _DATA_REFUSED else "failed"
        print(json.dumps({"status": status, "reasons": reasons}))
    else:
        for reason in reasons:
            print(reason, file=sys.stderr)
        if code == _DATA_REFUSED:
            print("Nothing was taken in.", file=sys.stderr)
    raise typer.Exit(code)
