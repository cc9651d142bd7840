"""Tells when nothing has happened for too long."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from orchestration.schedule.clock import Clock
from pipeline.settings.schedule import ScheduleSettings


class Silence(StrEnum):
    """What has not happened; the `status` of a message to the webhook, beside those of a run."""

    NO_RUN = "no_run"
    NO_DATA = "no_data"


@dataclass(frozen=True)
class Overdue:
    """A silence that is to be reported.

    Attributes:
        silence: which.
        times: how many expected intervals have passed without.
        reason: a sentence for people.
    """

    silence: Silence
    times: int
    reason: str


class Heartbeat:
    """Measures how long ago the last run and the last new data were.

    A clock that is set does not count: what goes on in this process is measured by the monotonic
    clock, and only what was before it by the dates that the state file has.
    """

    def __init__(
        self, settings: ScheduleSettings, last_run: datetime, last_data: datetime, clock: Clock
    ) -> None:
        """Starts from what is known.

        Args:
            settings: how often a run and new data are expected.
            last_run: when a run ended.
            last_data: when a span arrived.
            clock: measures.
        """
        self._clock = clock
        self._expected_hours = {
            Silence.NO_RUN: settings.expect_run_hours,
            Silence.NO_DATA: settings.expect_data_hours,
        }
        self._marks = {
            Silence.NO_RUN: clock.monotonic_at(last_run),
            Silence.NO_DATA: clock.monotonic_at(last_data),
        }

    def ended(self, silence: Silence) -> None:
        """Takes note that it happened now."""
        self._marks[silence] = self._clock.monotonic()

    def overdue(self, reported: Mapping[str, int]) -> list[Overdue]:
        """Returns what has to be said, again after every further interval.

        Args:
            reported: after how many intervals each silence was last reported.
        """
        found = []
        for silence, expected in self._expected_hours.items():
            hours = (self._clock.monotonic() - self._marks[silence]) / 3600
            times = int(hours / expected) if expected else 0
            if times > reported.get(silence, 0):
                what = "no run has ended" if silence is Silence.NO_RUN else "no new span has come"
                reason = f"{what} for {hours:.1f} hours; expected is one every {expected:g} hours"
                found.append(Overdue(silence, times, reason))
        return found
