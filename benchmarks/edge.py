"""What nginx in front costs, and what recording costs beside it.

`python -m benchmarks.edge [--pairs 15] [--seconds 3] [--output FILE.md]` asks the embedded server
for the class of one picture from four clients: directly, through the edge, and through an edge that
records a tenth, in turn. Ratios are medians over the rounds, since absolute times say little about
another machine. Beside them is the processor time a request costs each process, which a busy
machine changes less.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import psutil

from benchmarks.model_server import CONFORMANCE, RunningServer, measure_rest, server, workloads
from pipeline.code_revision import code_revision
from serving.edge.recorder import RecorderSettings
from serving.edge.running import running_edge
from serving.edge.values import Edge
from serving.launch.base import free_ports
from serving.traffic.reading import newest_logs

MODEL = "fashion"
CLIENTS = 4
SAMPLE = 0.1
WAYS = ("direct", "edge", "recorded")
PARTS = ("server", "nginx", "recorder")


class Bench:
    """The three ways to ask, side by side; those that are not asked idle.

    `ports` are those of the ways; `rates` and `costs` grow by a row each time a way is measured:
    requests a second, and microseconds of processor time a request by part.
    """

    def __init__(self, running: RunningServer, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        [self._request] = [w for w in workloads() if (w.images, w.name) == (1, "fashion classify")]
        self.ports = {"direct": running.rest_port}
        for way in WAYS[1:]:
            port, recorder_port = free_ports(2)
            edge = Edge(
                model_name=MODEL,
                base=CONFORMANCE / "models" / MODEL,
                rest=f"127.0.0.1:{running.rest_port}",
                grpc=f"127.0.0.1:{running.grpc_port}",
                folder=folder / way,
                port=port,
                grpc_port=None,
                sample=SAMPLE if way == "recorded" else 0.0,
                recorder=f"127.0.0.1:{recorder_port}",
            )
            settings = RecorderSettings(
                port=recorder_port,
                grpc=edge.grpc,
                model_name=MODEL,
                base=edge.base,
                directory=self.recording,
                answer_log=edge.answer_log,
                max_file_megabytes=64,
                max_megabytes=1024,
            )
            recorder = settings if edge.records else None
            stack.enter_context(running_edge(edge, recorder, 1_000_000_000, sys.stderr))
            self.ports[way] = port
        self.rates: dict[str, list[float]] = {way: [] for way in WAYS}
        self.costs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        self.requests = 0

    @property
    def recording(self) -> Path:
        """Where the recorder writes."""
        return self._folder / "recording"

    def measure(self, way: str, seconds: float) -> None:
        """Asks one way for a while, and waits until all that follows from it is done."""
        before = _processor_seconds()
        path, body = self._request.rest_path, self._request.rest_body
        asked = measure_rest(self.ports[way], path, body, CLIENTS, seconds)
        after = _settled()
        # Those of the warm-up are not counted, but cost as much.
        count = asked.rate * (seconds + 0.5)
        self.rates[way].append(asked.rate)
        self.costs[way].append({p: 1e6 * (after[p] - before[p]) / count for p in PARTS})
        self.requests += round(count) if way == "recorded" else 0

    def ratios(self, way: str, beside: str) -> list[float]:
        """Throughput of one way in terms of another, in each round."""
        pairs = zip(self.rates[way], self.rates[beside], strict=True)
        return sorted(mine / other for mine, other in pairs)

    def cost(self, way: str, part: str) -> float:
        """Microseconds of processor time a request."""
        return statistics.median(row[part] for row in self.costs[way])


def _processor_seconds() -> dict[str, float]:
    found = dict.fromkeys(PARTS, 0.0)
    for child in psutil.Process().children(recursive=True):
        command = " ".join(child.cmdline())
        part = (
            "recorder"
            if "serving.edge.recorder" in command
            else "server"
            if "serving.model_server" in command
            else "nginx"
        )
        used = child.cpu_times()
        found[part] += used.user + used.system
    return found


def _settled() -> dict[str, float]:
    before = _processor_seconds()
    while True:
        time.sleep(0.5)
        now = _processor_seconds()
        if now["recorder"] - before["recorder"] < 0.02:
            return now
        before = now


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        running = stack.enter_context(server(Path(name)))
        bench = Bench(running, Path(name), stack)
        time.sleep(15)  # the recorder imports TensorFlow
        for way in WAYS:
            bench.measure(way, 1.0)
        bench.rates, bench.costs = ({way: [] for way in WAYS} for _ in range(2))  # type: ignore[assignment]
        warming_up, bench.requests = len(newest_logs(bench.recording, MODEL, 10**9)), 0
        for number in range(arguments.pairs):
            for way in WAYS if number % 2 else reversed(WAYS):
                bench.measure(way, arguments.seconds)
            print(f"{number + 1} of {arguments.pairs}", file=sys.stderr)
        recorded = len(newest_logs(bench.recording, MODEL, 10**9)) - warming_up
    text = "\n".join(report(bench, recorded, load, arguments.seconds)) + "\n"
    print(text)
    if arguments.output:
        arguments.output.write_text(text)


def report(bench: Bench, recorded: int, load: float, seconds: float) -> Iterator[str]:
    """The lines of a Markdown report."""
    yield "# The edge in front of the embedded server, and recording beside it"
    yield ""
    yield (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, revision {code_revision()}, "
        f"{os.cpu_count()} cores ({platform.machine()}), load average before {load:.1f}. "
        f"`python -m benchmarks.edge`: {CLIENTS} clients classify one picture, "
        f"{len(bench.rates['edge'])} rounds of {seconds:g} s each way; {recorded} pictures were "
        f"recorded of {bench.requests} requests in the rounds."
    )
    yield ""
    yield "| way | requests/s (median) | " + " | ".join(f"{p}, us a request" for p in PARTS) + " |"
    yield "|---|---|" + "---|" * len(PARTS)
    for way in WAYS:
        rate = statistics.median(bench.rates[way])
        costs = " | ".join(f"{bench.cost(way, part):.0f}" for part in PARTS)
        yield f"| {way} | {rate:,.0f} | {costs} |"
    yield ""
    for way, beside in (("edge", "direct"), ("recorded", "edge")):
        found = bench.ratios(way, beside)
        quarter = len(found) // 4
        yield (
            f"- {way} in terms of {beside}: median {statistics.median(found):.2f} (half of the "
            f"rounds between {found[quarter]:.2f} and {found[-1 - quarter]:.2f})"
        )


if __name__ == "__main__":
    main()
