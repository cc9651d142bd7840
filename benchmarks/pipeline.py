"""What the pipeline costs beyond its training: one run against a plain Keras script, side by side.

    python -m benchmarks.pipeline [--preset default] [--set section.key=value] [--output FILE.md]

Runs `runner.py` in a new workdir and `benchmarks.plain_keras`, which does the same work without
TFX, with the same layers and once more with those that Keras brings, one after the other, each as a
process of its own, on the same files. Wall and processor time
and memory are those of the process and of all that it starts (the model server, for one). Both
find their packages compiled to byte code, as every run but the first does.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from data.fashion_mnist import obtain
from pipeline.code_revision import code_revision
from pipeline.settings.config import Config
from pipeline.settings.load import load_config
from pipeline.settings.paths import ROOT
from runs.exit_status import Status
from runs.result import RunResult

GOAL_RATIO = 1.10
GOAL_AROUND_SECONDS = 35.0
_SAMPLE_SECONDS = 0.25


@dataclass(frozen=True)
class Cost:
    """What a process and its descendants took: seconds and, at the peak, megabytes."""

    wall: float
    processor: float
    memory: float
    stdout: str


def main() -> None:
    """Runs both and prints the comparison; writes it to --output if given."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        settings = [*arguments.overrides, *_data_root(arguments, Path(folder))]
        config = load_config(arguments.preset, None, settings, workdir=Path(folder) / "var")
        _compile_packages()
        load_before = os.getloadavg()[0]
        run = measure(_runner(arguments.preset, settings, config))
        result = RunResult.model_validate_json(run.stdout)
        if result.status is not Status.PUSHED:
            raise SystemExit(f"the run ended as {result.status}: {' '.join(result.reasons)}")
        plain = measure(_script(config, Path(folder)))
        stock = measure([*_script(config, Path(folder)), "--stock-layers"])
    lines = list(report(arguments, load_before, run, result, plain, stock))
    print("\n".join(lines))
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")


def measure(command: Sequence[str]) -> Cost:
    """Runs a command to its end.

    Raises:
        SystemExit: when it fails.
    """
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        sampler = _MemorySampler(process.pid)
        sampler.start()
        assert process.stdout
        stdout = process.stdout.read()
        # Its usage includes that of the children it has waited for.
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        peak = sampler.stop()
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{errors.read()[-2000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak, stdout)


class _MemorySampler(threading.Thread):
    """Adds up the memory of a process tree every quarter of a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._root = psutil.Process(pid)
        self._ended = threading.Event()
        self._peak = 0.0

    def run(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            with suppress(psutil.NoSuchProcess):
                family = [self._root, *self._root.children(recursive=True)]
                self._peak = max(self._peak, sum(map(_megabytes, family)))

    def stop(self) -> float:
        """Ends the thread and returns the peak in megabytes."""
        self._ended.set()
        self.join()
        return self._peak


def _megabytes(process: psutil.Process) -> float:
    try:
        # What processes share counts once.
        return float(process.memory_full_info().pss) / 1e6
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0.0


def report(
    arguments: argparse.Namespace,
    load: float,
    run: Cost,
    result: RunResult,
    plain: Cost,
    stock: Cost,
) -> Iterator[str]:
    """Yields the lines of the report, in Markdown."""
    settings = "".join(f" --set {override}" for override in arguments.overrides)
    script: dict[str, Any] = json.loads(plain.stdout)
    nodes = {node.id: node.seconds for node in result.nodes}
    around = run.wall - nodes["Trainer"]
    yield "# The pipeline against a plain Keras script"
    yield ""
    yield (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, revision {code_revision()}, {os.cpu_count()} "
        f"cores ({platform.machine()}), load average before {load:.1f}. "
        f"`python -m benchmarks.pipeline --preset {arguments.preset}{settings}`"
    )
    yield ""
    yield "|  | wall, s | processor, s | peak memory, MB | accuracy |"
    yield "|---|---|---|---|---|"
    yield _row("pipeline", run, result.accuracy or 0.0)
    yield _row("plain script", plain, script["accuracy"])
    yield _row(
        "plain script with Keras' normalisation", stock, json.loads(stock.stdout)["accuracy"]
    )
    yield _ratio(f"ratio to the first (goal for wall: {GOAL_RATIO})", run, plain)
    yield _ratio("ratio to the second", run, stock)
    yield ""
    yield (
        f"Everything around training, imports included: {around:.1f} s "
        f"(goal for the default preset on two quiet cores: {GOAL_AROUND_SECONDS:.0f} s)."
    )
    yield ""
    yield from _table("node", {"start, imports, report": run.wall - sum(nodes.values()), **nodes})
    yield ""
    steps: dict[str, float] = script["seconds"]
    yield from _table("plain script", {"imports": plain.wall - sum(steps.values()), **steps})


def _row(name: str, cost: Cost, accuracy: float) -> str:
    return (
        f"| {name} | {cost.wall:.1f} | {cost.processor:.1f} | {cost.memory:,.0f} | {accuracy:.4f} |"
    )


def _ratio(name: str, run: Cost, plain: Cost) -> str:
    return (
        f"| {name} | {run.wall / plain.wall:.2f} | {run.processor / plain.processor:.2f} "
        f"| {run.memory / plain.memory:.2f} | |"
    )


def _table(title: str, seconds: dict[str, float]) -> Iterator[str]:
    yield f"| {title} | s |"
    yield "|---|---|"
    for name, value in seconds.items():
        yield f"| {name} | {value:.1f} |"


def _data_root(arguments: argparse.Namespace, folder: Path) -> list[str]:
    """Gets the data before anything is timed; the sample is there already."""
    config = load_config(arguments.preset, None, arguments.overrides)
    if config.data.sample or config.data.root:
        return []
    obtain(folder / "data" / "base", config.data.source)
    return [f"data.root={json.dumps(str(folder / 'data'))}"]


def _runner(preset: str, settings: Sequence[str], config: Config) -> list[str]:
    command = [sys.executable, "runner.py", "--preset", preset, "--workdir", str(config.workdir)]
    for setting in settings:
        command += ["--set", setting]
    return [*command, "--json"]


def _script(config: Config, folder: Path) -> list[str]:
    file = folder / "config.json"
    file.write_text(config.model_dump_json())
    return [sys.executable, "-m", "benchmarks.plain_keras", str(file), str(folder / "model")]


def _compile_packages() -> None:
    for module in ("orchestration.node_loop", "benchmarks.plain_keras"):
        subprocess.run([sys.executable, "-c", f"import {module}"], cwd=ROOT, check=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--preset", default="default")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE"
    )
    parser.add_argument("--output", type=Path, help="Markdown file to write the report to")
    return parser.parse_args()


if __name__ == "__main__":
    main()
