"""Makes traffic reports from time to time beside the runs of a schedule."""

import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from orchestration.schedule.clock import Clock
from orchestration.schedule.model_log import ModelLog
from pipeline.traffic.report import kept_reports

_DRIFT = 9
_STOP_SECONDS = 10.0


class TrafficWatch:
    """Starts `traffic report` in a process of its own, every so many hours.

    The report itself is kept, measured and announced by that process, so that a report by hand and
    one by a schedule are the same. One at a time: it competes with runs for the processors.
    """

    def __init__(
        self,
        command: Sequence[str],
        hours: float,
        reports: Path,
        clock: Clock,
        log: ModelLog,
        max_seconds: float,
    ) -> None:
        """Makes the watch.

        Args:
            command: makes a report.
            hours: from one report to the next.
            reports: folder of kept reports; the newest says when the next is due.
            clock: measures.
            log: for what the reports found.
            max_seconds: a report that takes longer is stopped; else none would follow it.
        """
        self._command = command
        self._seconds = hours * 3600.0
        self._clock = clock
        self._log = log
        self._max_seconds = max_seconds
        newest = next(kept_reports(reports), None)
        age = (clock.now() - newest.at).total_seconds() if newest else self._seconds
        self._due_at = clock.monotonic() + max(self._seconds - max(age, 0.0), 0.0)
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    def turn(self) -> bool:
        """Does what can be done at once; says whether a report that found drift has just ended.

        Raises:
            OSError: the process cannot be started; the next try is when the next report is due.
        """
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                self._stop_if_it_hangs()
                return False
            self._process = None
            if code == _DRIFT:
                self._log.warning("the traffic report found drift")
            elif code:
                self._log.error("the traffic report failed: exit code %d", code)
            else:
                self._log.info("the traffic report found no drift")
            return code == _DRIFT
        if self._clock.monotonic() >= self._due_at:
            self._due_at = self._clock.monotonic() + self._seconds
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._started_at = self._clock.monotonic()
            self._log.info("a traffic report begins (process %d)", self._process.pid)
        return False

    def _stop_if_it_hangs(self) -> None:
        if self._clock.monotonic() - self._started_at > self._max_seconds:
            self._log.error("the traffic report has taken %g s; stopping it", self._max_seconds)
            self.stop()

    def stop(self) -> None:
        """Ends a report that is being made."""
        process, self._process = self._process, None
        if process is None:
            return
        for end in (process.terminate, process.kill):
            end()
            # One that hangs in the kernel outlives even that; nobody waits for it any longer.
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
                return
