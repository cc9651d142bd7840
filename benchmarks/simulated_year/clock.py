"""A clock that is wrong, for the process that asks for it."""

import sys
import time
from datetime import datetime, tzinfo

_PARTS = ("cli", "components", "data", "files", "orchestration", "pipeline", "runs", "serving")


def shift_clock(seconds: float) -> None:
    """Lets `time.time` and, in the project's modules that are imported, `datetime.now` be wrong.

    The monotonic clock stays right, as it does when somebody sets a machine's clock.
    """
    right = time.time

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(right() + seconds, tz)

    time.time = lambda: right() + seconds
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in _PARTS and getattr(module, "datetime", None) is datetime:
            module.datetime = Shifted  # type: ignore[attr-defined]
