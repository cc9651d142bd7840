"""Schedules in processes of their own, and a run that does in an instant what it is told."""

import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from orchestration.schedule.clock import Clock
from orchestration.schedule.cron import Cron
from orchestration.schedule.model_schedule import ModelSchedule
from orchestration.schedule.scheduler import Scheduler
from pipeline.settings.config import Config
from pipeline.settings.load import load_config

# Stands for `runner.py run --json`: notes that it was called, waits while the file `hold` is there,
# and ends as the line of `outcomes` says whose number is that of the call.
_FAKE_RUN = """
import json, os, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
with (folder / "calls").open("a") as calls:
    calls.write(f"{os.getpid()} {int((folder / 'running').exists())}\\n")
(folder / "running").touch()
number = len((folder / "calls").read_text().splitlines())
while (folder / "hold").exists():
    time.sleep(0.02)
(folder / "running").unlink()
outcome = ((folder / "outcomes").read_text().split() + ["up_to_date"] * number)[number - 1]
if outcome == "crash":
    os.abort()
print(json.dumps({
    "run_id": f"run-{number}", "started_at": "2026-01-01T00:00:00Z", "status": outcome,
    "version": 1, "reasons": [f"because of {outcome}"],
}))
"""

# Schedules are forked from a process that has imported all they need, which spares seconds.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["orchestration.schedule.scheduler", __name__])


def _serve(
    configs: Sequence[Config],
    command: list[str],
    cron: str | None,
    watched: Path | None,
    log: Path,
) -> None:
    sys.stderr = log.open("w", buffering=1)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s", force=True)
    times = Cron(cron, "UTC") if cron else None
    sys.exit(
        Scheduler(
            [ModelSchedule(each, command, cron=times, watched=watched) for each in configs]
        ).serve()
    )


class FakeClock(Clock):
    """Stands still until a test moves it; the wall clock can also be set."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
        self._monotonic = 1000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, **span: float) -> None:
        """Time passes."""
        self._now += timedelta(**span)
        self._monotonic += timedelta(**span).total_seconds()

    def set_by(self, **span: float) -> None:
        """Somebody sets the wall clock."""
        self._now += timedelta(**span)


@dataclass
class FakeRun:
    """The command that stands for a run, and what became of its calls."""

    folder: Path

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-S", "-c", _FAKE_RUN, str(self.folder)]

    def outcomes(self, *names: str) -> None:
        """Sets how the calls end, in their order; further ones find nothing to do."""
        (self.folder / "outcomes").write_text("\n".join(names))

    def hold(self) -> None:
        (self.folder / "hold").touch()

    def release(self) -> None:
        (self.folder / "hold").unlink()

    def calls(self) -> list[int]:
        """Returns the process ids of the calls so far."""
        return [process for process, _ in self._lines()]

    def overlapped(self) -> bool:
        return any(beside for _, beside in self._lines())

    def _lines(self) -> list[tuple[int, int]]:
        try:
            lines = (self.folder / "calls").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [(int(line.split()[0]), int(line.split()[1])) for line in lines]


@dataclass
class Served:
    """A schedule that is running in a process of its own."""

    process: BaseProcess
    log: Path

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int | None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)
        self.process.join(60)
        return self.process.exitcode


@dataclass
class Schedules:
    """Starts schedules, on one workdir if not told otherwise, and kills what is left of them."""

    config: Config
    run: FakeRun
    started: list[Served] = field(default_factory=list)

    def serve(
        self,
        cron: str | None = None,
        watched: Path | None = None,
        configs: Sequence[Config] = (),
    ) -> Served:
        log = self.config.workdir / f"log-{len(self.started)}"
        log.touch()
        process = _PROCESSES.Process(
            target=_serve, args=(configs or [self.config], self.run.command, cron, watched, log)
        )
        process.start()
        self.started.append(Served(process, log))
        return self.started[-1]


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.02)


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Waits until something is true; the minute that it gives up after is for slow machines."""
    return _await


@pytest.fixture
def fake_run(tmp_path: Path) -> FakeRun:
    folder = tmp_path / "run"
    folder.mkdir()
    run = FakeRun(folder)
    run.outcomes()
    return run


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load_config(
        workdir=tmp_path,
        schedule__retries=2,
        schedule__retry_delay_seconds=0.1,
        schedule__poll_seconds=0.05,
    )


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def schedules(config: Config, fake_run: FakeRun) -> Iterator[Schedules]:
    schedules = Schedules(config, fake_run)
    yield schedules
    for served in schedules.started:
        served.process.kill()
        served.process.join()
    for process in fake_run.calls():
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue
