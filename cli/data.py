"""The verbs under `data` on the command line."""

import json
import re
import shlex
import sys
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from cli.options import ConfigFile, Json, Overrides, Preset, Workdir, examples, in_full
from pipeline.settings.errors import UsageError

if TYPE_CHECKING:
    from data.checked import Graph
    from data.refusal import DataRefused
    from pipeline.modeling.features import ImageFormat

app = typer.Typer(
    name="data",
    help="Get the images, take in or prepare your own, release spans.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


AllowDuplicates = Annotated[
    bool,
    typer.Option(help="Take a picture that is in two classes, or in training and test."),
]

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
        _fail(str(error), as_json)
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


@app.command(epilog=examples("data ingest new_photos/", "data ingest labelled.npz --json"))
def ingest(
    path: Annotated[Path, typer.Argument(help="IDX pair, folder per class, TFRecords, or .npz.")],
    allow_duplicates: AllowDuplicates = False,
    workdir: Workdir = None,
    config: ConfigFile = None,
    preset: Preset = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Take labelled images in as the next span.

    Pictures stay as they are, of any size. Anything unsound is listed, and refuses them all.
    """
    from data import spans
    from data.checked import lay_out
    from data.ingest import UnknownForm, read_arrays, read_pictures
    from data.quarantine import quarantined
    from data.refusal import DataRefused
    from orchestration.progress import Progress
    from orchestration.terminal import tensorflow_silent
    from pipeline.tf_records import as_folder

    settings = _settings(workdir, config, preset, overrides)
    root, labels = _span_root(settings), settings.data.labels
    max_pixels = settings.serving.max_pixels
    notes: list[str] = []
    try:
        arrays = read_arrays(path, labels, settings.data.image_size)
        if arrays:
            count = len(arrays.labels)
            added = spans.add(root, arrays.images, arrays.labels, labels)
        else:
            with tensorflow_silent(), Progress(sys.stderr) as progress, as_folder(path) as pictures:
                found = read_pictures(
                    pictures,
                    labels,
                    _graph(settings.image_format),
                    max_pixels,
                    allow_duplicates,
                    partial(progress.counter, "looking at the pictures"),
                )
                notes = list(found.summary.sentences())
                count = len(found.checked)
                added = spans.add_pictures(
                    root, lambda folder: lay_out(folder, found.checked, labels, max_pixels), count
                )
    except UnknownForm as error:
        raise UsageError(str(error)) from None
    except DataRefused as refusal:
        _refuse(refusal, as_json)
    if added.span in quarantined(root):
        notes.append(f"It is quarantined: no run reads it until `data release {added.span}`.")
    sentence = (
        f"{count} images are span {added.span} in {root / 'spans'}."
        if added.is_new
        else f"Nothing new: these {count} images are span {added.span} already."
    )
    _show(
        "\n".join([sentence, *notes]),
        {
            "status": "ingested" if added.is_new else "known",
            "span": added.span,
            "images": count,
            "folder": str(root / "spans" / str(added.span)),
            "notes": notes,
        },
        as_json,
    )


@app.command(
    epilog=examples(
        "data prepare photos/ --output my_classes",
        "data prepare photos/ --output my_classes --image-size 64 --color rgb",
    )
)
def prepare(
    pictures: Annotated[Path, typer.Argument(help="A folder of pictures per class, or TFRecords.")],
    output: Annotated[
        Path,
        typer.Option(help="The folder to write; it gets settings.toml.", callback=in_full),
    ],
    name: Annotated[str | None, typer.Option(help="Name of the model. [the output's name]")] = None,
    image_size: Annotated[
        int, typer.Option(min=8, max=512, help="Height and width that the network sees, in pixels.")
    ] = 28,
    color: Annotated[str, typer.Option(help="What it sees of colours: grey or rgb.")] = "grey",
    fit: Annotated[
        str, typer.Option(help="What becomes of what is not square: squash, crop or pad.")
    ] = "squash",
    allow_duplicates: AllowDuplicates = False,
    as_json: Json = False,
) -> None:
    """Make a data root and settings for classes of your own.

    The pictures are checked and copied as they are. Anything unsound is listed, and refuses them
    all; see docs/own_classes.md.
    """
    from data.fit import Fit
    from data.prepare import PrepareError
    from data.prepare import prepare as write
    from data.prepared_settings import Target
    from data.refusal import DataRefused
    from orchestration.progress import Progress
    from orchestration.terminal import tensorflow_silent
    from pipeline.modeling.features import MAX_PIXELS, Color, ImageFormat
    from pipeline.settings.paths import SCHEMA_FILE
    from pipeline.tf_records import as_folder

    for value, kind, option in ((color, Color, "--color"), (fit, Fit, "--fit")):
        if value not in list(kind):
            raise UsageError(f"{option} is one of {', '.join(kind)}, not {value}")
    target = Target(
        output,
        name or re.sub(r"[^A-Za-z0-9_.-]", "_", output.name),
        SCHEMA_FILE.read_text(),
        image_size,
        color,
        fit,
        MAX_PIXELS,
        allow_duplicates,
    )
    image_format = ImageFormat(size=image_size, color=Color(color), fit=Fit(fit))
    try:
        with tensorflow_silent(), Progress(sys.stderr) as progress, as_folder(pictures) as folder:
            counter = partial(progress.counter, "looking at the pictures")
            done = write(folder, target, _graph(image_format), counter, _check_settings)
    except PrepareError as error:
        raise UsageError(str(error)) from None
    except DataRefused as refusal:
        _refuse(refusal, as_json)
    notes = list(done.summary.sentences())
    lines = [
        f"{done.train} images to train on and {done.test} to test on, of the classes "
        f"{', '.join(done.labels)}, are in {output}.",
        *notes,
        "next:",
        f"  python runner.py --config {shlex.quote(str(done.settings))}",
    ]
    _show(
        "\n".join(lines),
        {
            "status": "prepared",
            "settings": str(done.settings),
            "labels": done.labels,
            "train": done.train,
            "test": done.test,
            "ignored": done.summary.ignored,
            "notes": notes,
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


def _graph(image_format: "ImageFormat") -> "Graph":
    """Does what the model's own graph does to a picture, so that training sees what clients get."""
    import tensorflow as tf

    from pipeline.modeling.preprocessing import decode_images

    decode = tf.function(
        partial(decode_images, image_format=image_format),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )

    def read(encoded: bytes) -> None:
        try:
            decode(tf.constant([encoded]))
        except tf.errors.InvalidArgumentError:
            raise ValueError("its content is neither PNG nor JPEG, or damaged") from None

    return read


def _check_settings(text: str) -> None:
    """Raises UsageError for settings that no later verb would take."""
    from pipeline.settings.load import load_config
    from pipeline.settings.paths import SCHEMA_FILE

    with NamedTemporaryFile("w") as file:
        file.write(text)
        file.flush()
        load_config(file=Path(file.name), data__schema_file=SCHEMA_FILE)


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
    from data.folders import shown

    print(json.dumps(result) if as_json else shown(sentence))


def _refuse(refusal: "DataRefused", as_json: bool) -> NoReturn:
    from cli.tables.refused import print_refused

    if as_json:
        files = [{"file": found.file, "reason": found.reason} for found in refusal.files]
        result = {"status": "data_refused", "reasons": refusal.reasons, "files": files}
        print(json.dumps(result))
    else:
        print_refused(refusal)
    raise typer.Exit(_DATA_REFUSED)


def _fail(reason: str, as_json: bool) -> NoReturn:
    if as_json:
        print(json.dumps({"status": "failed", "reasons": [reason]}))
    else:
        print(reason, file=sys.stderr)
    raise typer.Exit(_FAILED)
