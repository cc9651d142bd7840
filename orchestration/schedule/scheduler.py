"""The long-lived process that starts runs: by the clock, and when a new span arrives."""

import logging
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from data.spans import list_spans
from files import lock
from orchestration.schedule.attempt import Attempt
from orchestration.schedule.state import DueRun, ScheduleState
from orchestration.schedule.webhook import post
from pipeline.settings.config import Config
from runs.result import RunResult, Status

logger = logging.getLogger(__name__)

# A computer that was asleep, or whose clock was set, is late by no more than this.
_WAKE_SECONDS = 30.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Request:
    """Something happened that asks for a run.

    Attributes:
        reason: what.
        cron_until: the time, when it was the clock.
        spans: all that are there, when one of them is new.
    """

    reason: str
    cron_until: datetime | None = None
    spans: tuple[int, ...] | None = None


class Scheduler:
    """Starts runs one at a time, each in a process of its own, and sees them through.

    Everything that asks for a run while one is waiting or running leads to one more. What was asked
    for, and how far it has come, is in the state file before anything is done about it.
    """

    def __init__(
        self,
        config: Config,
        command: Sequence[str],
        on_result: Callable[[RunResult], None] | None = None,
    ) -> None:
        """Makes the scheduler.

        Args:
            config: all settings; those of the section `schedule` are used here.
            command: runs the pipeline and prints its RunResult as JSON on standard output.
            on_result: is given the result of every run that was seen through.
        """
        self._settings = config.schedule
        self._command = command
        self._on_result = on_result
        self._workdir = config.workdir
        self._folder = config.workdir / "schedule"
        self._state_file = self._folder / "state.json"
        self._state = ScheduleState()
        self._requests: SimpleQueue[Request | None] = SimpleQueue()
        self._stopping = False
        self._exit_code = 0

    def serve(self, trigger: BaseTrigger | None, watched: Path | None) -> int:
        """Runs until it is told to stop by SIGTERM or SIGINT, which also stops the run.

        Args:
            trigger: when to start a run; one for all times that were missed.
            watched: folder in which every numbered folder is a span.

        Returns:
            The exit code of the last run that was seen through, 0 when there was none.

        Raises:
            WorkdirBusy: when another schedule holds the workdir.
            UsageError: when the state file cannot be read.
        """
        with self._alone():
            self._finish_earlier_attempt()
            triggers = self._start_triggers(trigger, watched)
            try:
                while not self._stopping:
                    self._await_requests(triggers)
                    self._attempt_if_due()
            finally:
                triggers.shutdown(wait=False)
            logger.info("the schedule stops")
        return self._exit_code

    def once(self) -> int:
        """Makes one run now, or finishes the one that is due, and returns its exit code.

        Raises:
            WorkdirBusy: when another schedule holds the workdir.
            UsageError: when the state file cannot be read.
        """
        with self._alone():
            self._finish_earlier_attempt()
            if self._state.due is None:
                self._ask_for_run([Request("asked for")])
            while self._state.due and not self._stopping:
                self._attempt_if_due()
                time.sleep(_POLL_SECONDS)
        return Status.INTERRUPTED.exit_code if self._state.due else self._exit_code

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with lock.exclusive(self._workdir, "schedule"):
            self._folder.mkdir(exist_ok=True)
            self._state = ScheduleState.read(self._state_file)
            before = {
                number: signal.signal(number, self._stop)
                for number in (signal.SIGTERM, signal.SIGINT)
            }
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        self._requests.put(None)

    def _start_triggers(
        self, trigger: BaseTrigger | None, watched: Path | None
    ) -> BackgroundScheduler:
        scheduler = BackgroundScheduler(
            timezone=UTC,
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        if trigger:
            if self._state.cron_until is None:
                self._state.cron_until = datetime.now(UTC)
            # Times that passed while no scheduler was running are found by starting there.
            first = trigger.get_next_fire_time(
                None, self._state.cron_until + timedelta(microseconds=1)
            )
            scheduler.add_job(self._clock, trigger, next_run_time=first)
            logger.info("the next run is due at %s", first)
        if watched:
            scheduler.add_job(
                self._look_for_spans,
                "interval",
                seconds=self._settings.poll_seconds,
                next_run_time=datetime.now(UTC),
                args=[watched, set(self._state.spans)],
            )
            logger.info("watching %s for new spans", watched)
        self._state.write(self._state_file)
        scheduler.start()
        return scheduler

    def _clock(self) -> None:
        self._requests.put(Request("the clock", cron_until=datetime.now(UTC)))

    def _look_for_spans(self, watched: Path, known: set[int]) -> None:
        there = set(list_spans(watched))
        new = sorted(there - known)
        known.clear()
        known.update(there)
        if new:
            numbers = ", ".join(map(str, new))
            reason = f"new span{'s' if len(new) > 1 else ''} {numbers}"
            self._requests.put(Request(reason, spans=tuple(sorted(there))))

    def _await_requests(self, triggers: BackgroundScheduler) -> None:
        """Takes in what asks for a run; returns when an attempt may be due."""
        requests: list[Request | None] = []
        try:
            requests.append(self._requests.get(timeout=self._seconds_to_wait()))
            while True:
                requests.append(self._requests.get_nowait())
        except Empty:
            triggers.wakeup()
        self._ask_for_run([request for request in requests if request])

    def _seconds_to_wait(self) -> float:
        if self._state.due is None:
            return _WAKE_SECONDS
        due_in = (self._state.due.not_before - datetime.now(UTC)).total_seconds()
        return min(max(due_in, 0.0), _WAKE_SECONDS)

    def _ask_for_run(self, requests: Sequence[Request]) -> None:
        if not requests:
            return
        now = datetime.now(UTC)
        reason = ", ".join(dict.fromkeys(request.reason for request in requests))
        for request in requests:
            self._state.cron_until = request.cron_until or self._state.cron_until
            if request.spans is not None:
                self._state.spans = list(request.spans)
        self._state.due = DueRun(name=f"{now:%Y%m%d-%H%M%S-%f}", reason=reason, not_before=now)
        self._state.write(self._state_file)
        logger.info("a run is due: %s", reason)

    def _finish_earlier_attempt(self) -> None:
        """Sees an attempt through that a scheduler which was killed has started."""
        due = self._state.due
        attempt = Attempt.find(self._output(due), due.process) if due else None
        if due and attempt:
            logger.info("run %s was started by an earlier scheduler", due.name)
            self._see_through(due, attempt)

    def _attempt_if_due(self) -> None:
        due = self._state.due
        if self._stopping or due is None or datetime.now(UTC) < due.not_before:
            return
        attempt = Attempt.start(self._command, self._output(due))
        due.process = attempt.process_id
        self._state.write(self._state_file)
        logger.info("run %s begins: %s (process %s)", due.name, due.reason, due.process)
        self._see_through(due, attempt)

    def _output(self, due: DueRun) -> Path:
        return self._folder / f"{due.name}-{due.attempt}.json"

    def _see_through(self, due: DueRun, attempt: Attempt) -> None:
        output = self._output(due)
        while attempt.is_running():
            if self._stopping:
                attempt.stop()
                if attempt.is_running():
                    logger.warning("run %s goes on; the next start waits for it", due.name)
                    return
                due.process = None
                self._state.write(self._state_file)
                output.unlink()
                logger.info("run %s was stopped; the next start makes it again", due.name)
                return
            time.sleep(_POLL_SECONDS)
        self._conclude(due, attempt)
        output.unlink()

    def _conclude(self, due: DueRun, attempt: Attempt) -> None:
        """Brings the state behind the attempt; the last thing that it does is to write it."""
        result = attempt.result() or _without_result(due, attempt)
        reasons = "; ".join(result.reasons) or "no reason given"
        due.process = None
        if result.status is Status.BUSY:
            logger.info("run %s waits: %s", due.name, reasons)
            self._postpone(due, self._settings.retry_delay_seconds)
        elif _has_failed(result) and due.attempt <= self._settings.retries:
            # Nothing is known against a run that went down together with its scheduler.
            lost = attempt.is_adopted and attempt.result() is None
            delay = 0.0 if lost else self._settings.retry_delay_seconds * 2 ** (due.attempt - 1)
            logger.warning(
                "run %s failed, attempt %d of %d, the next in %g s: %s",
                due.name,
                due.attempt,
                self._settings.retries + 1,
                delay,
                reasons,
            )
            due.attempt += 1
            self._postpone(due, delay)
        else:
            self._report(due, result, reasons)
            if self._on_result:
                self._on_result(result)
            self._exit_code = result.status.exit_code
            self._state.due = None
            self._state.last_run = result.run_id
            self._state.last_status = result.status
        self._state.write(self._state_file)

    def _postpone(self, due: DueRun, seconds: float) -> None:
        due.not_before = datetime.now(UTC) + timedelta(seconds=seconds)

    def _report(self, due: DueRun, result: RunResult, reasons: str) -> None:
        if result.status is Status.UP_TO_DATE:
            logger.info("run %s: nothing new, version %s is up to date", due.name, result.version)
            return
        if result.status is Status.PUSHED:
            logger.info("run %s: pushed version %s", due.name, result.version)
        elif _has_failed(result):
            logger.error(
                "run %s failed, attempt %d was the last: %s", due.name, due.attempt, reasons
            )
        else:
            logger.warning("run %s: %s: %s", due.name, result.status, reasons)
        if self._settings.webhook:
            post(self._settings.webhook, result)


def _has_failed(result: RunResult) -> bool:
    return result.status in (Status.FAILED, Status.INTERRUPTED)


def _without_result(due: DueRun, attempt: Attempt) -> RunResult:
    result = RunResult(run_id=due.name, started_at=due.not_before)
    result.finish(Status.FAILED, [f"the process {attempt.end()} and left no result"])
    return result
