"""The simulated year as a command.

    python -m benchmarks.simulated_year [--days 365] [--seed 1] [--workdir DIR] [--output FILE]

Every day images arrive, or do not, something goes wrong, or does not, and the pipeline is run by
its own command line. The exit code is 1 when a day did not end as it must, when a sound span was
not trained on, or an unsound one not quarantined, when a request to the live server failed, or when
the workdir has grown. `--days 0` is ten days with each accident once.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.simulated_year.plan import ten_days, year
from benchmarks.simulated_year.reports import DayReport, YearReport
from pipeline.code_revision import code_revision
from pipeline.settings.errors import UsageError


def main() -> int:
    """Lives through the year and returns the exit code."""
    arguments = _arguments()
    plan = year(arguments.days, arguments.seed) if arguments.days else ten_days()
    try:
        with _folder(arguments.workdir) as scratch:
            # Imports TensorFlow.
            from benchmarks.simulated_year.simulation import live_through

            report = live_through(
                plan, scratch, arguments.seed, _say, official=not arguments.sample
            )
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    _sum_up(report)
    if arguments.output:
        what = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "revision": code_revision()}
        plan_of = {"seed": arguments.seed, "days_simulated": len(plan)}
        text = json.dumps(what | plan_of | report.model_dump(mode="json"), indent=1)
        arguments.output.write_text(text + "\n")
    return 1 if report.problems else 0


def _say(day: DayReport) -> None:
    last = day.attempts[-1]
    seconds = sum(attempt.seconds for attempt in day.attempts)
    what = "; ".join([*day.arrived, *day.accidents]) or "nothing"
    print(f"day {day.day}: {what}: {last.status} in {seconds:.0f} s", flush=True)
    for problem in day.problems:
        print(f"  not as it must be: {problem}", flush=True)


def _sum_up(report: YearReport) -> None:
    print(
        f"{report.spans} spans ({report.images}), {report.quarantined} of them quarantined; "
        f"{report.versions} versions, {report.rolled_back} taken back by a person; "
        f"{sum(report.answered.values())} requests answered, {report.failed} failed"
    )
    for problem in report.problems:
        print(f"not as it must be: {problem}")


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is None:
        with tempfile.TemporaryDirectory(prefix="year-") as folder:
            yield Path(folder)
    elif given.exists():
        raise UsageError(f"{given} is there already: the year begins without any data")
    else:
        given.mkdir(parents=True)
        yield given.resolve()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Simulate a year of retraining.")
    parser.add_argument("--days", type=int, default=365, help="how many; 0: the ten of the test")
    parser.add_argument("--seed", type=int, default=1, help="of the plan and the images [1]")
    parser.add_argument("--workdir", type=Path, help="a new folder that keeps it all [none]")
    parser.add_argument("--sample", action="store_true", help="the sample's images, with noise")
    parser.add_argument("--output", type=Path, help="a file that gets it all as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
