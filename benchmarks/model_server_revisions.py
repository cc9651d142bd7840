"""Throughput of the embedded model server beside that of another revision, in turn.

`python -m benchmarks.model_server_revisions CHECKOUT [--rounds 10] [--output FILE.md]` starts the
server of this checkout and of the other one with the recorded models, and asks them in
turn with four clients, so that a busy machine is as busy for both. Ratios are medians over the
rounds.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.model_server import (
    REPOSITORY,
    RunningServer,
    Workload,
    measure_grpc,
    measure_rest,
    revision,
    server,
    workloads,
)

CLIENTS = 4
FLAGS = ("--enable_grpc_healthcheck_service", "--grpc_max_threads=32")

# Requests a second.
Measure = Callable[[RunningServer, Workload, float], float]


def _grpc(running: RunningServer, item: Workload, seconds: float) -> float:
    request, port = item.grpc_request, running.grpc_port
    return measure_grpc(port, item.grpc_method, request, CLIENTS, seconds).rate


def _rest(running: RunningServer, item: Workload, seconds: float) -> float:
    return measure_rest(running.rest_port, item.rest_path, item.rest_body, CLIENTS, seconds).rate


APIS: dict[str, Measure] = {"gRPC": _grpc, "REST": _rest}


def main() -> None:
    """Runs the benchmark, prints its report and writes it to --output if given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("checkout", type=Path, help="another checkout of this project")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each measurement")
    parser.add_argument("--output", type=Path, help="Markdown file to write the report to")
    arguments = parser.parse_args()
    lines = []
    for line in report(arguments.checkout, arguments.rounds, arguments.seconds):
        print(line, flush=True)
        lines.append(line)
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")


def report(checkout: Path, rounds: int, seconds: float) -> Iterator[str]:
    """Yields the lines of a Markdown report."""
    before, now = (revision(folder) for folder in (checkout, REPOSITORY))
    yield f"# The embedded model server at {now} beside {before}"
    yield ""
    yield (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores "
        f"({platform.machine()}), load average before {os.getloadavg()[0]:.1f}. "
        f"`python -m benchmarks.model_server_revisions CHECKOUT`: {CLIENTS} clients, "
        f"{rounds} rounds of {seconds:g} s each."
    )
    yield ""
    yield f"| API | request | images | {before}, requests/s | {now}, requests/s | ratio | half |"
    yield "|---|---|---|---|---|---|---|"
    with ExitStack() as stack:
        servers = []
        for folder in (checkout, REPOSITORY):
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            servers.append(stack.enter_context(server(scratch, *FLAGS, checkout=folder)))
        for item in workloads():
            for api, measure in APIS.items():
                rates = list(_in_turn(servers, item, measure, rounds, seconds))
                yield _row(api, item, rates)


def _in_turn(
    servers: list[RunningServer], item: Workload, measure: Measure, rounds: int, seconds: float
) -> Iterator[tuple[float, float]]:
    """Yields requests per second of the two, by round; which one is first alternates."""
    for number in range(rounds):
        order = (0, 1) if number % 2 else (1, 0)
        found = {which: measure(servers[which], item, seconds) for which in order}
        print(f"{item.name}: {number + 1} of {rounds}", file=sys.stderr)
        yield found[0], found[1]


def _row(api: str, item: Workload, rates: list[tuple[float, float]]) -> str:
    first, second = (statistics.median(column) for column in zip(*rates, strict=True))
    ratios = sorted(now / before for before, now in rates)
    low, _, high = statistics.quantiles(ratios, n=4)
    return (
        f"| {api} | {item.name} | {item.images} | {first:,.0f} | {second:,.0f} "
        f"| {statistics.median(ratios):.2f} | {low:.2f} to {high:.2f} |"
    )


if __name__ == "__main__":
    main()
