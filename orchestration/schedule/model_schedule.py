"""The schedule of one model: when a run is due, how far it has come, and who is told."""

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from data.layout import spans_folder
from files.paths import resolved
from orchestration.schedule.attempt import Attempt
from orchestration.schedule.clock import SYSTEM_CLOCK, Clock
from orchestration.schedule.cron import Cron
from orchestration.schedule.model_log import ModelLog
from orchestration.schedule.silence import Heartbeat, Silence
from orchestration.schedule.state import DueRun, ScheduleState
from orchestration.schedule.traffic_watch import TrafficWatch
from orchestration.schedule.triggers import Triggers
from orchestration.schedule.webhook import Webhook
from pipeline.settings.config import Config
from runs.exit_status import Status
from runs.result import RunResult

_LONGEST_PAUSE_SECONDS = 3600.0


class ModelSchedule:
    """Sees runs of one model through, each in a process of its own.

    It does nothing by itself: whoever calls `turn` again and again gives it time, and says by
    `start_run` when a run that is due may begin. What was asked for, and how far it has come, is in
    the state file before anything is done about it, so that it may be killed at any moment.
    """

    def __init__(
        self,
        config: Config,
        command: Sequence[str],
        *,
        cron: Cron | None = None,
        watched: Path | None = None,
        on_result: Callable[[dict[str, Any]], None] | None = None,
        report_command: Sequence[str] = (),
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Makes the schedule; `resume` comes before all else.

        Args:
            config: all settings; those of the section `schedule` are used here.
            command: runs the pipeline and prints its RunResult as JSON on standard output.
            cron: when runs start.
            watched: folder of spans, of which a new one starts a run.
            on_result: is given the result of every run that was seen through, with its `model`.
            report_command: makes a traffic report, as often as traffic.report_hours says.
            clock: measures.

        Raises:
            UsageError: when the webhook's template is not there or not valid.
        """
        self.config = config
        self.exit_code = 0
        self._model = config.serving.model_name
        self._log = ModelLog(logging.getLogger(__name__), self._model)
        self._settings = config.schedule
        self._command = command
        self._report_command = report_command
        self._traffic: TrafficWatch | None = None
        self._on_result = on_result
        self._clock = clock
        self._folder = config.workdir / "schedule"
        self._state_file = self._folder / "state.json"
        self._state = ScheduleState()
        self._attempt: Attempt | None = None
        self._due_at = self._idle_until = clock.monotonic()
        self._has_cron = cron is not None
        self._triggers = Triggers(
            cron,
            watched or spans_folder(config.data_root),
            watches=watched is not None,
            poll_seconds=self._settings.poll_seconds,
            clock=clock,
            log=self._log,
        )
        self._heartbeat = Heartbeat(self._settings, clock.now(), clock.now(), clock)
        self.webhook: Webhook | None = None
        if self._settings.webhook:
            template = self._settings.webhook_template
            self.webhook = Webhook(
                self._settings.webhook,
                template and resolved(template),
                self._folder / "unsent",
                self._log,
            )

    @property
    def due(self) -> DueRun | None:
        """The run that was asked for and is not over."""
        return self._state.due

    @property
    def is_running(self) -> bool:
        """Whether a run has begun that was not seen through."""
        return self._attempt is not None

    @property
    def ready_since(self) -> float | None:
        """Since when, by the monotonic clock, a run waits to be started; None: none does."""
        if self._state.due is None or self._attempt:
            return None
        since = max(self._due_at, self._idle_until)
        return since if self._clock.monotonic() >= since else None

    def resume(self) -> None:
        """Takes up what an earlier process left: its state, and the run that it had started.

        Raises:
            OSError: when the workdir cannot be used.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._state = ScheduleState.read(self._state_file)
        now = self._clock.now()
        last_run, last_data = self._state.last_run_at or now, self._state.last_data_at or now
        cron_until = self._state.cron_until or (now if self._has_cron else None)
        self._save(last_run_at=last_run, last_data_at=last_data, cron_until=cron_until)
        self._heartbeat = Heartbeat(self._settings, last_run, last_data, self._clock)
        self._triggers.resume(self._state)
        self._watch_traffic()
        due = self._state.due
        if due:
            waits = min((due.not_before - now).total_seconds(), self._pause_before(due.attempt))
            self._due_at = self._clock.monotonic() + waits
            self._attempt = Attempt.find(self._output(due))
            if self._attempt:
                self._log.info("run %s was started by an earlier scheduler", due.name)
        self._remove_leftovers()

    def turn(self) -> None:
        """Does what can be done at once; what goes wrong is a line in the log and tried again."""
        if self._clock.monotonic() < self._idle_until:
            return
        try:
            self._take_note_of_spans()
            self._look_at_traffic()
            if self._attempt and self._state.due:
                self._follow(self._state.due, self._attempt)
            else:
                asked = self._triggers.asked(self._state)
                if asked.reasons:
                    self.ask_for_run(", ".join(asked.reasons), **asked.changes)
                elif asked.changes:
                    self._save(**asked.changes)
            self._report_silence()
        except Exception as error:
            self._put_off(error)

    def ask_for_run(self, reason: str, **changes: Any) -> None:
        """Makes a run due; when one is waiting already, that one will do.

        Args:
            reason: what asks for it.
            changes: of the state, which are written together with it.

        Raises:
            OSError: when that cannot be written.
        """
        due = self._state.due
        if due is None:
            now = self._clock.now()
            due = DueRun(name=f"{now:%Y%m%d-%H%M%S-%f}", reason=reason, not_before=now)
            self._due_at = self._clock.monotonic()
        elif reason not in due.reason:
            due = due.model_copy(update={"reason": f"{due.reason}, {reason}"})
        self._save(due=due, **changes)
        self._log.info("a run is due: %s", reason)

    def start_run(self) -> None:
        """Begins the run that is due; one that cannot be begun stays due."""
        due = self._state.due
        if due is None:
            return
        try:
            started = due.model_copy(update={"started": self._clock.monotonic()})
            self._save(due=started, spans=self._triggers.spans)
            self._attempt = Attempt.start(self._command, self._output(due))
            process_id = self._attempt.process_id
            self._log.info("run %s begins: %s (process %s)", due.name, due.reason, process_id)
        except Exception as error:
            self._put_off(error)

    def stop_run(self) -> None:
        """Stops the run in order, if one is going on; it stays due."""
        if self._traffic:
            self._traffic.stop()
        due = self._state.due
        if due is None or self._attempt is None:
            return
        self._log.info("stopping run %s (process %s)", due.name, self._attempt.process_id)
        if not self._attempt.stop():
            self._log.warning("run %s goes on; the next start waits for it", due.name)
            return
        self._attempt.discard()
        self._attempt = None
        self._log.info("run %s was stopped; the next start makes it again", due.name)

    def _follow(self, due: DueRun, attempt: Attempt) -> None:
        if attempt.is_running():
            limit = self._settings.max_run_seconds
            started = self._clock.monotonic() if due.started is None else due.started
            if self._clock.monotonic() - started < limit:
                return
            self._log.warning("run %s has taken %g s; stopping it", due.name, limit)
            if not attempt.stop():
                raise RuntimeError(f"run {due.name} does not end, not even by force")
        self._conclude(due, attempt)
        self._attempt = None
        attempt.discard()

    def _conclude(self, due: DueRun, attempt: Attempt) -> None:
        """Brings the state behind an attempt that has ended."""
        result = self._result_of(due, attempt)
        reasons = "; ".join(result.reasons) or "no reason given"
        if result.status is Status.BUSY:
            self._log.info("run %s waits: %s", due.name, reasons)
            self._postpone(due, self._settings.retry_delay_seconds)
        elif _has_failed(result) and due.attempt <= self._settings.retries:
            # Nothing is known against a run that went down together with its scheduler.
            lost = attempt.is_adopted and attempt.result() is None and not attempt.was_stopped
            pause = 0.0 if lost else self._pause_before(due.attempt + 1)
            self._log.warning(
                "run %s failed, attempt %d of %d, the next in %g s: %s",
                due.name,
                due.attempt,
                self._settings.retries + 1,
                pause,
                reasons,
            )
            self._postpone(due.model_copy(update={"attempt": due.attempt + 1}), pause)
        else:
            self._finish(due, result, reasons)

    def _result_of(self, due: DueRun, attempt: Attempt) -> RunResult:
        result = attempt.result()
        if result is None:
            result = RunResult(run_id=due.name, started_at=due.not_before)
            result.finish(Status.FAILED, [f"the process {attempt.end()} and left no result"])
        if attempt.was_stopped and _has_failed(result):
            limit = f"schedule.max_run_seconds = {self._settings.max_run_seconds:g}"
            result.finish(Status.FAILED, [f"the run was stopped: it took longer than {limit}"])
            if attempt.result():
                result.write(self.config.runs_dir)
        return result

    def _finish(self, due: DueRun, result: RunResult, reasons: str) -> None:
        message = {"model": self._model} | result.model_dump(mode="json")
        if self.webhook and result.status is not Status.UP_TO_DATE:
            self.webhook.put(result.run_id, message)
        self._save(
            due=None,
            last_run=result.run_id,
            last_status=result.status,
            last_run_at=self._clock.now(),
            silences={**self._state.silences, Silence.NO_RUN: 0},
        )
        self._heartbeat.ended(Silence.NO_RUN)
        self.exit_code = result.status.exit_code
        if result.status is Status.UP_TO_DATE:
            self._log.info(
                "run %s: nothing new, version %s is up to date", due.name, result.version
            )
        elif result.status is Status.PUSHED:
            self._log.info("run %s: pushed version %s", due.name, result.version)
        elif _has_failed(result):
            self._log.error(
                "run %s failed, attempt %d was the last: %s", due.name, due.attempt, reasons
            )
        else:
            self._log.warning("run %s: %s: %s", due.name, result.status, reasons)
        self._hand_on(message)

    def _hand_on(self, message: dict[str, Any]) -> None:
        try:
            if self._on_result:
                self._on_result(message)
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            self._log.error("the result of run %s is not handed on: %s", message["run_id"], what)

    def _postpone(self, due: DueRun, seconds: float) -> None:
        not_before = self._clock.now() + timedelta(seconds=seconds)
        self._save(due=due.model_copy(update={"not_before": not_before, "started": None}))
        self._due_at = self._clock.monotonic() + seconds

    def _pause_before(self, attempt: int) -> float:
        first = self._settings.retry_delay_seconds
        pause = first * 2.0 ** min(max(attempt - 2, 0), 30)
        return min(pause, max(first, _LONGEST_PAUSE_SECONDS))

    def _take_note_of_spans(self) -> None:
        if self._triggers.look_for_spans():
            self._heartbeat.ended(Silence.NO_DATA)
            silences = {**self._state.silences, Silence.NO_DATA: 0}
            self._save(last_data_at=self._clock.now(), silences=silences)

    def _watch_traffic(self) -> None:
        hours = self.config.traffic.report_hours
        if self._report_command and hours:
            reports = self.config.traffic_dir / "reports"
            self._traffic = TrafficWatch(
                self._report_command,
                hours,
                reports,
                self._clock,
                self._log,
                self.config.schedule.max_run_seconds,
            )

    def _look_at_traffic(self) -> None:
        """Starts a run where traffic has drifted and there is data that no run has seen."""
        if self._traffic and self._traffic.turn():
            if set(self._triggers.spans) - set(self._state.spans):
                self.ask_for_run("drift", spans=self._triggers.spans)
            else:
                self._log.info("no span is new: label what `traffic export` gives")

    def _report_silence(self) -> None:
        for overdue in self._heartbeat.overdue(self._state.silences):
            status = overdue.silence
            if self.webhook:
                message = {"model": self._model, "status": status, "reasons": [overdue.reason]}
                self.webhook.put(status, message)
            self._save(silences={**self._state.silences, status: overdue.times})
            self._log.error("%s: %s", status, overdue.reason)

    def _save(self, **changes: Any) -> None:
        state = self._state.model_copy(update=changes)
        if state != self._state or not self._state_file.exists():
            state.write(self._state_file)
            self._state = state

    def _put_off(self, error: Exception) -> None:
        """Leaves everything as it is for a while; a full disk, for one, may be emptied."""
        pause = self._settings.retry_delay_seconds
        self._idle_until = self._clock.monotonic() + pause
        what = f"{type(error).__name__}: {error}"
        self._log.error("cannot go on, the next try is in %g s: %s", pause, what)

    def _output(self, due: DueRun) -> Path:
        return self._folder / f"{due.name}-{due.attempt}.json"

    def _remove_leftovers(self) -> None:
        """Removes what processes that were killed left half written or did not remove."""
        keep = {self._state_file, self._output(self._state.due) if self._state.due else None}
        for path in [*self._folder.glob("*.json"), *self._folder.rglob(".*.partial")]:
            if path not in keep and path.is_file():
                path.unlink()


def _has_failed(result: RunResult) -> bool:
    return result.status in (Status.FAILED, Status.INTERRUPTED)
