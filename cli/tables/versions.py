"""What `runner.py models` shows: the versions of the model, and how two of them differ."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field
from rich.console import Console
from rich.table import Table

from cli.invocation import command
from orchestration.console import plain_console
from pipeline.modeling.features import LABEL
from pipeline.settings.config import Config
from reporting.formats import time
from serving.client.status import known_versions
from serving.versions.journal import Entry, read_entries
from serving.versions.labels import UnknownVersionError, read_labels
from serving.versions.record import VersionRecord
from serving.versions.store import VersionState, VersionStore

if TYPE_CHECKING:
    from components.model_diff.churn import Churn

_ACCURACY = "sparse_categorical_accuracy"
_PIPED_WIDTH = 200


class ListedVersion(BaseModel):
    """One version: its state on disk, its labels, its state in the live server, its record."""

    version: int
    state: VersionState
    labels: list[str] = Field(default_factory=list)
    live: str | None = None
    record: VersionRecord | None = None


class Listing(BaseModel):
    """The versions of a model, newest first."""

    model_name: str
    directory: str
    server: str | None = None
    versions: list[ListedVersion]


def listing(directory: str | Path, model_name: str, server: str | None) -> Listing:
    """Collects the versions of a model.

    Args:
        directory: the model's base directory, a path or URI.
        model_name: under which a server serves it.
        server: REST address of a server that is asked what is live; None: no question.

    Raises:
        UnavailableError: no model server answers at the address.
    """
    store = VersionStore(directory)
    labels = read_labels(store)
    states = known_versions(server, model_name) if server else {}
    return Listing(
        model_name=model_name,
        directory=str(directory),
        server=server,
        versions=[
            ListedVersion(
                version=version.number,
                state=version.state,
                labels=sorted(
                    name
                    for name, number in (labels.labels if labels else {}).items()
                    if number == version.number
                ),
                live=states[version.number].state.name if version.number in states else None,
                record=version.record,
            )
            for version in store.versions()
        ],
    )


def print_listing(found: Listing) -> None:
    """Prints the versions as a table, and why any was rolled back."""
    console = _console()
    if not found.versions:
        console.print(f"no version in {found.directory}; `{command('run')}` pushes one")
        return
    table = Table(title=f"{found.model_name} in {found.directory}", title_justify="left", box=None)
    columns = ["version", "state", "labels", "pushed", "accuracy", "spans", "server", "run"]
    columns += ["live"] if found.server else []
    for name in columns:
        table.add_column(name)
    for version in found.versions:
        row = [str(version.version), version.state, ", ".join(version.labels)]
        row += _record_cells(version.record)
        table.add_row(*row, *([version.live or "-"] if found.server else []))
    console.print(table)
    for version in found.versions:
        note = version.record.rolled_back if version.record else None
        if note and version.state is VersionState.ROLLED_BACK:
            text = f"version {version.version} was rolled back {time(note.at)}: {note.reason}"
            console.print(text)


def history(directory: str | Path) -> list[Entry]:
    """Returns what was done to the versions of a model, newest first."""
    return read_entries(VersionStore(directory))[::-1]


def print_history(entries: list[Entry]) -> None:
    """Prints what was done to the versions, a line each."""
    console = _console()
    if not entries:
        console.print("no label was moved, and no version rolled back or restored")
    for entry in entries:
        what = f"{entry.action} {entry.version or ''}".strip()
        if entry.label:
            what = f"label {entry.label}: {entry.before or 'none'} -> {entry.version or 'none'}"
        why = f": {entry.reason}" if entry.reason else ""
        console.print(f"{time(entry.at)}  {entry.who}  {what}{why}")


def churn_between(config: Config, before: int, after: int) -> "Churn":
    """Compares two served or rolled-back versions on the newest evaluated examples.

    Raises:
        UnknownVersionError: a version has no directory, or no run left examples to compare on.
    """
    directories = [
        _directory(VersionStore(config.serving_base), number) for number in (before, after)
    ]
    files = evaluated_examples(config.pipeline_root)
    # TensorFlow takes seconds to import; the mistakes above are told at once.
    from components.examples import read_records
    from components.model_diff.churn import compare, true_classes
    from components.predictions import predict

    examples = read_records(files)
    old, new = (predict(path, examples, "predict_examples") for path in directories)
    return compare(old, new, true_classes(examples, LABEL), config.data.labels)


def evaluated_examples(pipeline_root: Path) -> list[str]:
    """Returns the files of the images that the newest run evaluated on.

    Raises:
        UnknownVersionError: no run has got so far.
    """
    folders = pipeline_root.glob("*ExampleGen/examples/*/Split-eval")
    newest = max(folders, key=lambda folder: int(folder.parent.name), default=None)
    if newest is None:
        raise UnknownVersionError(
            f"There are no evaluated images under {pipeline_root}: run the pipeline first."
        )
    return sorted(str(path) for path in newest.iterdir())


def print_churn(churn: "Churn", before: int, after: int) -> None:
    """Prints the share of changed labels, per class, and the worst examples."""
    console = _console()
    table = Table(box=None)
    table.add_column("class")
    for name in ("images", "changed", "share", "fixed", "broken"):
        table.add_column(name, justify="right")
    for label, part in churn.classes.items():
        counts = [part.examples, part.changed, f"{part.share:.2%}", part.fixed, part.broken]
        table.add_row(label, *map(str, counts))
    console.print(
        f"from version {before} to {after}, the label of {churn.changed} of {churn.examples} "
        f"images changes ({churn.share:.2%}): {churn.fixed} become right, {churn.broken} wrong"
    )
    console.print(table)
    for example in churn.worst:
        console.print(
            f"image {example.position}, {example.truth}: {example.before} "
            f"({example.before_probability:.2f}) becomes {example.after} "
            f"({example.after_probability:.2f})",
        )


def _record_cells(record: VersionRecord | None) -> list[str]:
    if record is None:
        return ["", "", "", "", "no record"]
    overall: dict[str, Any] = record.metrics.get("overall", {})
    accuracy = overall.get(_ACCURACY)
    return [
        time(record.pushed_at),
        f"{accuracy:.4f}" if accuracy is not None else "",
        ", ".join(map(str, record.spans)),
        record.model_server,
        record.run_id,
    ]


def _console() -> Console:
    # A pipe has no width; tables are not to be folded for it.
    width = None if sys.stdout.isatty() else _PIPED_WIDTH
    return plain_console(sys.stdout, width)


def _directory(store: VersionStore, number: int) -> Path:
    version = store.get(number)
    if version is None or version.directory is None:
        known = [str(v.number) for v in store.versions() if v.directory]
        raise UnknownVersionError(
            f"There is no version {number} in {store.storage.base}; "
            f"there are {', '.join(known) or 'none'}."
        )
    return Path(version.directory)
