"""Time for servers to finish what they have begun.

TensorFlow Serving reads a version's graph first and its variables after that. When the directory
goes in between, it takes the model for one without variables and serves it uninitialised, until it
looks at the directory again. So a version is left alone until no server can be loading it.
"""

import time
from collections.abc import Iterable
from datetime import UTC, datetime

# A server polls every second (--file_system_poll_wait_seconds) and loads a small model in less.
SETTLE_SECONDS = 5.0


def wait_until_settled(changes: Iterable[datetime]) -> None:
    """Waits until the last of some changes to the directory lies far enough in the past."""
    now = datetime.now(UTC)
    age = min(((now - change).total_seconds() for change in changes), default=SETTLE_SECONDS)
    # A record from the future (a clock that jumped) is not waited for any longer than a new one.
    time.sleep(min(max(SETTLE_SECONDS - age, 0.0), SETTLE_SECONDS))
