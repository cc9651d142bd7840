"""The simulated week as a command.

    python -m benchmarks.simulated_week [--workdir DIR] [--json] [--output FILE]

Every day images arrive, or do not, and the pipeline is run by its own command line. At the end
stands a table of what became of each day; the exit code is 1 when one did not end as planned, or
when a request to the live server failed.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.simulated_week.plan import WEEK, DayReport, WeekReport
from orchestration.terminal import redirect_to
from pipeline.code_revision import code_revision
from pipeline.settings.errors import UsageError

_WIDTH = 150


def main() -> int:
    """Lives through the week and returns the exit code."""
    arguments = _arguments()
    try:
        with _workdir(arguments.workdir) as workdir:
            streams = redirect_to(workdir / "week.log")
            talk = streams.stderr if arguments.json else streams.stdout
            terminal = Console(file=talk, width=_WIDTH, highlight=False)
            week = _live_through(workdir, terminal)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    terminal.print(table_of(week))
    terminal.print(
        f"requests to the live server: {sum(week.answered.values())} answered, {week.failed} failed"
    )
    for problem in week.problems:
        terminal.print(f"not as planned: {problem}", markup=False)
    result = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "revision": code_revision()}
    text = json.dumps(result | week.model_dump(mode="json"), indent=2)
    if arguments.json:
        print(text, file=streams.stdout)
    if arguments.output:
        arguments.output.write_text(text + "\n")
    return 1 if week.problems else 0


def _live_through(workdir: Path, terminal: Console) -> WeekReport:
    # Imports TensorFlow, whose messages are for the log.
    from benchmarks.simulated_week.simulation import live_through

    def say(day: DayReport) -> None:
        terminal.print(f"{day.day}: {day.status.value} in {day.seconds:.0f} s")

    return live_through(WEEK, workdir, say)


def table_of(week: WeekReport) -> Table:
    """Returns the week as a table, a row for each day."""
    table = Table("day", "arrived", "window", "verdict", "version", "accuracy", "reason")
    for day in week.days:
        table.add_row(
            day.day,
            "\n".join(day.arrived) or "nothing",
            ", ".join(map(str, day.window)),
            day.status.value,
            str(day.version or ""),
            f"{day.accuracy:.4f}" if day.trained and day.accuracy is not None else "",
            "\n".join(day.reasons) or _why_not_refused(day),
        )
    return table


def _why_not_refused(day: DayReport) -> str:
    if not day.trained:
        return "nothing new"
    if day.baseline_version is None:
        return "reached its thresholds; there was no model to compare with"
    return f"reached its thresholds, also against {day.baseline_version}"


@contextmanager
def _workdir(given: Path | None) -> Iterator[Path]:
    if given is None:
        with tempfile.TemporaryDirectory(prefix="week-") as folder:
            yield Path(folder)
    elif given.is_dir() and any(given.iterdir()):
        raise UsageError(f"{given} is not empty: the week begins without any data")
    else:
        yield given.resolve()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Simulate a week of retraining on the sample.")
    parser.add_argument("--workdir", type=Path, help="an empty folder that keeps it all [none]")
    parser.add_argument("--json", action="store_true", help="the week as JSON on standard output")
    parser.add_argument("--output", type=Path, help="a file that gets the same")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
