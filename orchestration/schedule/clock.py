"""The two clocks of a machine, so that a test can bring its own."""

import time
from datetime import UTC, datetime, timedelta


class Clock:
    """Wall clock for what people read, monotonic clock for how long something took."""

    def now(self) -> datetime:
        """Returns the date and time, UTC; somebody may set it at any moment."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Returns seconds since the boot; all processes of this machine read the same."""
        return time.monotonic()

    def monotonic_at(self, moment: datetime) -> float:
        """Returns what the monotonic clock showed at a moment; one in the future counts as now."""
        return self.monotonic() - max(self.now() - moment, timedelta(0)).total_seconds()


SYSTEM_CLOCK = Clock()
