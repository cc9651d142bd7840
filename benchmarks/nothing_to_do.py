"""How long a run with nothing to do takes, in turn with that of another checkout.

    python -m benchmarks.nothing_to_do [--before CHECKOUT] [--preset smoke] [--output FILE.md]

Each checkout makes one whole run in a workdir of its own, and is then timed in turn with the other,
so that a busy machine is as busy for both. Processor time says more than time on such a machine.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipeline.code_revision import code_revision
from pipeline.settings.paths import ROOT

# Seconds, and processor seconds, of each run.
Times = list[tuple[float, float]]


def main() -> None:
    """Prints the table; writes it to --output if given."""
    arguments = _arguments()
    checkouts = [ROOT, *([arguments.before.resolve()] if arguments.before else [])]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        workdirs = [Path(folder) / str(number) for number in range(len(checkouts))]
        for checkout, workdir in zip(checkouts, workdirs, strict=True):
            run(checkout, workdir, arguments.preset)
        found: list[Times] = [[] for _ in checkouts]
        for _ in range(arguments.times):
            for checkout, workdir, times in zip(checkouts, workdirs, found, strict=True):
                times.append(run(checkout, workdir, arguments.preset))
    text = "\n".join(report(arguments, found)) + "\n"
    print(text, end="")
    if arguments.output:
        arguments.output.write_text(text)


def run(checkout: Path, workdir: Path, preset: str) -> tuple[float, float]:
    """Runs a checkout's pipeline; returns its seconds and processor seconds."""
    command = [sys.executable, "runner.py", "--preset", preset, "--workdir", str(workdir)]
    began, used = time.monotonic(), _processor_seconds()
    subprocess.run(command, cwd=checkout, check=True, capture_output=True)
    return time.monotonic() - began, _processor_seconds() - used


def _processor_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system


def report(arguments: argparse.Namespace, found: Sequence[Times]) -> Iterator[str]:
    """Yields the lines of the report, in Markdown."""
    yield "# A run with nothing to do"
    yield ""
    yield (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, revision {code_revision()}, {os.cpu_count()} "
        f"cores ({platform.machine()}), load average {os.getloadavg()[0]:.1f}, preset "
        f"{arguments.preset}, {arguments.times} runs each in turn."
    )
    yield ""
    yield "| checkout | s, median | s, least | processor s, median | processor s, least |"
    yield "|---|---|---|---|---|"
    for name, times in zip(("this one", str(arguments.before)), found, strict=False):
        seconds, processor = zip(*times, strict=True)
        yield (
            f"| {name} | {statistics.median(seconds):.2f} | {min(seconds):.2f} "
            f"| {statistics.median(processor):.2f} | {min(processor):.2f} |"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--before", type=Path, help="another checkout of this project")
    parser.add_argument("--preset", default="smoke", help="of the run")
    parser.add_argument("--times", type=int, default=10, help="how often each is timed")
    parser.add_argument("--output", type=Path, help="Markdown file to write the report to")
    return parser.parse_args()


if __name__ == "__main__":
    main()
