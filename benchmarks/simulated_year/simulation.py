"""Lives through the days, and finds out of each, and of them all, what is not as it must be."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from benchmarks.simulated_year.clients import SteadyClients
from benchmarks.simulated_year.commands import Done, Runner
from benchmarks.simulated_year.day_settings import write_settings
from benchmarks.simulated_year.disk import Disk, size_of
from benchmarks.simulated_year.expectations import (
    Situation,
    evidence,
    problems_of,
    problems_of_full_disk,
)
from benchmarks.simulated_year.gate import Gate
from benchmarks.simulated_year.plan import Accident, Day, Delivery
from benchmarks.simulated_year.reports import Attempt, DayReport, YearReport
from benchmarks.simulated_year.supplier import Supplier
from data.quarantine import quarantined
from pipeline.settings.config import Config
from pipeline.settings.load import load_config
from runs.exit_status import Status
from runs.result import RunResult
from serving.client.rest_client import RestClient
from serving.launch.base import Launch
from serving.launch.process import EmbeddedServer
from serving.versions.store import VersionState, VersionStore

_YEAR_SECONDS = 365 * 24 * 3600.0
# What a run writes is about a megabyte: with less than that it stops somewhere in the middle.
_ROOM_BYTES = 1_500_000
_FIRST_RUN_SECONDS = 20.0
_MEASURED_FROM_DAY = 30
_ALLOWED_GROWTH = 1.2
_NO_BLAME = "no span was quarantined"


def live_through(
    plan: Sequence[Day],
    scratch: Path,
    seed: int,
    over: Callable[[DayReport], None],
    *,
    official: bool = True,
) -> YearReport:
    """Runs the pipeline on each day while a server serves what it pushes, and clients ask it.

    Args:
        plan: the days.
        scratch: an empty folder for the data, the runs and the served versions.
        seed: of the images.
        over: is told of every day that is over.
        official: draw the images from the official ones, if they can be had.
    """
    started = time.monotonic()
    with ExitStack() as stack:
        disk = stack.enter_context(closing(Disk(scratch / "var")))
        supplier = Supplier(scratch / "data", seed, official=official)
        runner = stack.enter_context(closing(Runner(scratch)))
        server = stack.enter_context(_server(load_config(workdir=scratch / "var"), scratch))
        gate = stack.enter_context(Gate(server.rest_url.removeprefix("http://")))
        simulation = Simulation(scratch, disk, supplier, runner, server, gate)
        clients = SteadyClients(
            server.rest_url, server.grpc_address, simulation.config.serving.model_name
        )
        reports: list[DayReport] = []
        with ExitStack() as asking:
            for day in plan:
                reports.append(simulation.live_through(day))
                over(reports[-1])
                if len(reports) == 1:
                    # From the first push on there is a model to ask.
                    asking.enter_context(clients)
            last = simulation.problems_at_the_end(reports)
        return YearReport(
            images=supplier.source,
            disk=disk.kind,
            hours=round((time.monotonic() - started) / 3600, 2),
            spans=len(simulation.sound) + len(simulation.unsound),
            quarantined=len(quarantined(supplier.root)),
            versions=len(VersionStore(simulation.config.serving_dir).versions()),
            rolled_back=len(simulation.taken_back),
            answered=clients.answered,
            failed=len(clients.failures),
            problems=[
                *(f"day {day.day}: {p}" for day in reports for p in day.problems),
                *last,
                *clients.problems(),
            ],
            days=reports,
        )


@contextmanager
def _server(config: Config, scratch: Path) -> Iterator[EmbeddedServer]:
    config.serving_dir.mkdir(parents=True)
    server = EmbeddedServer()
    server.start(
        config.serving_dir, config.serving.model_name, Launch(log=scratch / "model_server.log")
    )
    try:
        yield server
    finally:
        server.stop()


class Simulation:
    """What has happened so far.

    Attributes:
        config: the settings of an ordinary day.
        sound: the spans that must be trained on.
        unsound: those that must be quarantined, with what is wrong with them.
        taken_back: the versions that a person rolled back.
    """

    def __init__(
        self,
        scratch: Path,
        disk: Disk,
        supplier: Supplier,
        runner: Runner,
        server: EmbeddedServer,
        gate: Gate,
    ) -> None:
        """Nothing has happened yet."""
        self._settings = scratch / "settings.toml"
        self._workdir = scratch / "var"
        self._disk, self._supplier, self._runner = disk, supplier, runner
        self._server, self._gate = server, gate
        self._prepare(Day(0, ()))
        self.config = load_config(file=self._settings)
        self.sound: set[int] = set()
        self.unsound: dict[int, Accident] = {}
        self.taken_back: list[int] = []
        self._copied_tomorrow: set[int] = set()
        self._usual_seconds = _FIRST_RUN_SECONDS
        self._last: Attempt | None = None

    def live_through(self, day: Day) -> DayReport:
        """Does what happens on a day, and reports it."""
        report = DayReport(day=day.number, accidents=sorted(day.accidents))
        before = set(quarantined(self._supplier.root))
        self._prepare(day)
        self._morning(day, report)
        for attempt, problems in self._attempts(day):
            report.attempts.append(attempt)
            report.problems += problems
        self._evening(day, report, before)
        return report

    def _prepare(self, day: Day) -> None:
        write_settings(
            self._settings,
            day,
            workdir=self._workdir,
            root=self._supplier.root,
            live_server=self._gate.url,
        )

    def _morning(self, day: Day, report: DayReport) -> None:
        self._name_what_nothing_proves(day, report)
        self._supplier.complete()
        self.sound |= self._copied_tomorrow
        self._copied_tomorrow.clear()
        for delivery in day.deliveries:
            report.arrived.append(self._bring(day, delivery))
        if Accident.ROLLBACK in day.accidents:
            self._roll_back(report)
        if Accident.NO_METADATA in day.accidents:
            for file in self._workdir.glob("metadata.sqlite*"):
                file.unlink()
        if Accident.UPGRADE in day.accidents:
            module = self._runner.upgrade(f"day {day.number}", day.variant)
            report.arrived.append(f"a new {module}")

    def _bring(self, day: Day, delivery: Delivery) -> str:
        half_copied = Accident.HALF_COPIED in day.accidents and delivery.kind is None
        span = self._supplier.bring(delivery, half_copied=half_copied)
        if delivery.kind:
            self.unsound[span] = delivery.kind
        else:
            (self._copied_tomorrow if half_copied else self.sound).add(span)
        state = "half copied" if half_copied else delivery.kind or "sound"
        return f"span {span}, {delivery.images} images, {state}"

    def _name_what_nothing_proves(self, day: Day, report: DayReport) -> None:
        """Does what the last refusal asked for, where nothing but a span can be the reason."""
        if not self._last or not any(_NO_BLAME in reason for reason in self._last.reasons):
            return
        if day.accidents & {Accident.TYPO, Accident.SCHEMA, Accident.DIVERGES, Accident.RENAMED}:
            return
        for span, kind in self._open().items():
            # Nothing had changed since the last push, and the span stood alone in the reasons.
            if kind is Accident.SHUFFLED and any(f"span-{span} " in r for r in self._last.reasons):
                why = f"span-{span} by hand: {kind}"
                self._command("data", "quarantine", str(span), "--reason", why)
                report.by_hand.append(span)

    def _roll_back(self, report: DayReport) -> None:
        if len(VersionStore(self.config.serving_dir).served()) < 2:
            return
        done = self._command(
            *("models", "rollback", "--reason", "a person did not like it", "--json"),
            *("--server", self._server.rest_url),
        )
        if done.exit_code:
            report.problems.append(f"models rollback failed: {done.stdout}{done.stderr}")
            return
        version = int(json.loads(done.stdout)["rolled_back"])
        self.taken_back.append(version)
        report.arrived.append(f"version {version} is rolled back")

    def _attempts(self, day: Day) -> Iterator[tuple[Attempt, list[str]]]:
        if Accident.SERVER_DOWN in day.accidents:
            self._gate.close()
        clock = _YEAR_SECONDS if Accident.CLOCK in day.accidents else 0.0
        if Accident.DISK_FULL in day.accidents:
            with self._disk.full(round(day.variant * _ROOM_BYTES)) as largest_file:
                attempt = self._run(clock=clock, largest_file=largest_file)
            yield attempt, problems_of_full_disk(attempt)
        if Accident.KILLED in day.accidents:
            yield self._run(clock=clock, kill_after=0.1 + day.variant * self._usual_seconds), []
        expected = self._situation(day).expected()
        attempt = self._run(clock=clock)
        yield attempt, problems_of(attempt, expected)
        if Accident.SERVER_DOWN in day.accidents:
            self._gate.open()
        if attempt.status is Status.PUSHED:
            self._usual_seconds = attempt.seconds

    def _situation(self, day: Day) -> Situation:
        newest = VersionStore(self.config.serving_dir).newest_served()
        trained_on = set(newest.record.spans) if newest and newest.record else set()
        rolled_back = [
            version for version in self.taken_back if not newest or version > newest.number
        ]
        return Situation(
            day.accidents, self._open(), bool(self.sound - trained_on), bool(rolled_back)
        )

    def _open(self) -> dict[int, Accident]:
        left_out = quarantined(self._supplier.root)
        return {span: kind for span, kind in self.unsound.items() if span not in left_out}

    def _evening(self, day: Day, report: DayReport, before: set[int]) -> None:
        self._last = report.attempts[-1]
        left_out = quarantined(self._supplier.root)
        report.quarantined = sorted(set(left_out) - before)
        report.problems += [
            f"span {span} is quarantined, and sound: {left_out[span].reason}"
            for span in report.quarantined
            if span not in self.unsound
        ]
        if self._last.status is Status.PUSHED:
            report.problems += self._problems_of_push(self._last)
        report.workdir_megabytes = _megabytes(self._workdir)
        report.examples_megabytes = _megabytes(self._workdir / "pipeline_root" / "IdxExampleGen")
        report.metadata_megabytes = _megabytes(*self._workdir.glob("metadata.sqlite*"))

    def _problems_of_push(self, attempt: Attempt) -> list[str]:
        with closing(RestClient(self._server.rest_url, self.config.serving.model_name)) as client:
            live = [found.version for found in client.status() if found.is_available]
        newest = max(live, default=None)
        return [] if newest == attempt.version else [f"the server serves {newest}"]

    def problems_at_the_end(self, reports: Sequence[DayReport]) -> list[str]:
        """What the issue asks for, of all days together."""
        store = VersionStore(self.config.serving_dir)
        newest = store.newest_served()
        trained_on = set(newest.record.spans) if newest and newest.record else set()
        left_out = quarantined(self._supplier.root)
        back = {v.number for v in store.versions() if v.state is VersionState.ROLLED_BACK}
        return [
            *(f"span {span} was not trained on" for span in sorted(self.sound - trained_on)),
            *(
                f"span {s} is unsound and trained on"
                for s in sorted(set(self.unsound) & trained_on)
            ),
            *(
                f"span {span} ({kind}) is not quarantined for it: {left_out.get(span)}"
                for span, kind in self.unsound.items()
                if span not in left_out
                or not any(word in left_out[span].reason for word in evidence(span, kind))
            ),
            *(f"version {v} was taken back" for v in sorted(back - set(self.taken_back))),
            *self._problems_of_nothing_new(),
            *([] if self._server.is_running() else ["the server died"]),
            *_growth(reports),
        ]

    def _problems_of_nothing_new(self) -> list[str]:
        self._prepare(Day(0, ()))
        attempt = self._run()
        if attempt.status is Status.UP_TO_DATE:
            return []
        return [f"a run without news ended as {attempt.status}: {'; '.join(attempt.reasons)}"]

    def _run(
        self, *, kill_after: float | None = None, clock: float = 0.0, largest_file: int = 0
    ) -> Attempt:
        done = self._command(
            *("run", "--json"), kill_after=kill_after, clock=clock, largest_file=largest_file
        )
        if not done.stdout:
            said = done.stderr.strip().splitlines()[-1:]
            how = "killed by SIGKILL" if done.exit_code < 0 else "ended without a result"
            return Attempt(
                status=None,
                exit_code=done.exit_code,
                reasons=[f"{how}: {''.join(said)}"],
                seconds=done.seconds,
            )
        result = RunResult.model_validate_json(done.stdout)
        return Attempt(
            exit_code=done.exit_code,
            seconds=done.seconds,
            **result.model_dump(include={"status", "version", "accuracy", "reasons"}),
        )

    def _command(
        self,
        *arguments: str,
        kill_after: float | None = None,
        clock: float = 0.0,
        largest_file: int = 0,
    ) -> Done:
        return self._runner.call(
            *(*arguments, "--config", str(self._settings)),
            kill_after=kill_after,
            clock=clock,
            largest_file=largest_file,
        )


def _megabytes(*paths: Path) -> float:
    return round(sum(map(size_of, paths)) / 1e6, 2)


def _growth(reports: Sequence[DayReport]) -> list[str]:
    if len(reports) <= _MEASURED_FROM_DAY:
        return []
    first, last = reports[_MEASURED_FROM_DAY - 1].own_megabytes, reports[-1].own_megabytes
    if last <= first * _ALLOWED_GROWTH:
        return []
    return [f"the workdir has grown from {first:.1f} MB on day {_MEASURED_FROM_DAY} to {last:.1f}"]
