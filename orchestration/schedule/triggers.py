"""What asks for runs of a model: the clock, and spans that arrive."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from data.spans import list_spans
from orchestration.schedule.clock import Clock
from orchestration.schedule.cron import Cron
from orchestration.schedule.model_log import ModelLog
from orchestration.schedule.state import ScheduleState

# After a smaller correction of the clock, times that have led to a run do not lead to one again.
_CORRECTION = timedelta(minutes=10)


@dataclass
class Asked:
    """What has happened since the state was written.

    Attributes:
        reasons: what asks for a run; empty when nothing does.
        changes: of the state, to be written together with the run.
    """

    reasons: list[str] = field(default_factory=list)
    changes: dict[str, Any] = field(default_factory=dict)


class Triggers:
    """Compares the clock and the spans that are there with what the state says about them."""

    def __init__(
        self,
        cron: Cron | None,
        spans: Path,
        *,
        watches: bool,
        poll_seconds: float,
        clock: Clock,
        log: ModelLog,
    ) -> None:
        """Makes the triggers.

        Args:
            cron: when to start a run; one for all times that were missed.
            spans: folder in which every numbered folder is a span.
            watches: whether a new span starts a run.
            poll_seconds: between two looks for new spans.
            clock: tells the time.
            log: for what the clock brings.
        """
        self._cron = cron
        self._spans = spans
        self._watches = watches
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._log = log
        self._next_time: datetime | None = None
        self._next_look = clock.monotonic()
        self._there: set[int] = set()
        self._is_readable = True

    def resume(self, state: ScheduleState) -> None:
        """Starts from what an earlier process knew."""
        self._there = set(state.spans)
        if self._watches:
            self._log.info("watching %s for new spans", self._spans)

    @property
    def spans(self) -> tuple[int, ...]:
        """The spans that were there at the last look, ascending."""
        return tuple(sorted(self._there))

    def look_for_spans(self) -> bool:
        """Looks which spans there are, unless it did a moment ago; says whether one has arrived."""
        if self._clock.monotonic() < self._next_look:
            return False
        self._next_look = self._clock.monotonic() + self._poll_seconds
        before = self._there
        try:
            if self._spans.is_dir():  # else not made yet, or on a disk that is not there
                self._there = set(list_spans(self._spans))
            self._is_readable = True
        except OSError as error:
            if self._is_readable:
                self._log.error("spans cannot be looked for: %s", error)
            self._is_readable = False
        return not self._there <= before

    def asked(self, state: ScheduleState) -> Asked:
        """Returns what asks for a run."""
        asked = Asked()
        new = self._there.difference(state.spans)
        if new and self._watches:
            plural = "s" if len(new) > 1 else ""
            asked.reasons.append(f"new span{plural} {', '.join(map(str, sorted(new)))}")
            asked.changes["spans"] = self.spans
        elif not self._there.issuperset(state.spans):
            asked.changes["spans"] = tuple(sorted(self._there.intersection(state.spans)))
        if self._cron:
            self._ask_clock(self._cron, state, asked)
        return asked

    def _ask_clock(self, cron: Cron, state: ScheduleState, asked: Asked) -> None:
        now = self._clock.now()
        until = state.cron_until or now
        if until - now > _CORRECTION:
            self._log.warning("the clock was set back from %s to %s; cron goes on", until, now)
            until, self._next_time = now, None
        if self._next_time is None:
            self._next_time = cron.next_after(until)
            if self._next_time > now:
                self._log.info("the next run is due at %s", self._next_time)
        if now >= self._next_time:
            asked.reasons.append("the clock")
            until, self._next_time = now, None
        if until != state.cron_until:
            asked.changes["cron_until"] = until
