"""Shows how far a download has come: a bar on a terminal, plain lines everywhere else."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """What fetching files reports to its user."""

    def say(self, line: str) -> None:
        """Shows one line that stays."""

    def start(self, name: str, total_bytes: int | None, done_bytes: int = 0) -> None:
        """Begins one file of `total_bytes` (None when unknown), `done_bytes` of it already here."""

    def advance(self, count: int) -> None:
        """Counts `count` more bytes of the file begun last."""


class PlainProgress:
    """One line a file on standard error."""

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def start(self, name: str, total_bytes: int | None, done_bytes: int = 0) -> None:
        size = f" ({total_bytes / 1e6:.1f} MB)" if total_bytes else ""
        resumed = f", resumed at {done_bytes / 1e6:.1f} MB" if done_bytes else ""
        self.say(f"  {name}{size}{resumed}")

    def advance(self, count: int) -> None:
        """Lines in a log need no running count."""


@contextmanager
def show_progress() -> Iterator[Progress]:
    """A live display when standard error is a terminal, plain lines otherwise."""
    if sys.stderr.isatty():
        with _live() as live:
            yield live
    else:
        yield PlainProgress()


@contextmanager
def _live() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import DownloadColumn, TaskID, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    bars = Bars(
        TextColumn("  {task.description}"),
        *Bars.get_default_columns()[1:],
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
    )

    class LiveProgress:
        task: TaskID | None = None

        def say(self, line: str) -> None:
            bars.console.print(line, highlight=False, markup=False, soft_wrap=True)

        def start(self, name: str, total_bytes: int | None, done_bytes: int = 0) -> None:
            self.task = bars.add_task(name, total=total_bytes, completed=done_bytes)

        def advance(self, count: int) -> None:
            if self.task is not None:
                bars.advance(self.task, count)

    with bars:
        yield LiveProgress()
