"""A clock that is wrong, for the process that asks for it."""

import sys
import time
from datetime import datetime, tzinfo
from typing import Any

_PARTS = ("cli", "components", "data", "files", "orchestration", "pipeline", "runs", "serving")


def shift_clock(seconds: float) -> None:
    """Lets `time.time` and `datetime.now` be wrong in the project's modules that are imported.

    TensorFlow, Beam and gRPC wait for moments that the kernel tells, which goes by the right clock;
    they are left alone.

    Args:
        seconds: by how much the clock is ahead.
    """

    class Time:
        def __getattr__(self, name: str) -> Any:
            return getattr(time, name)

        def time(self) -> float:
            return time.time() + seconds

    class Datetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(time.time() + seconds, tz)

    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in _PARTS:
            for attribute, right, wrong in (
                ("time", time, Time()),
                ("datetime", datetime, Datetime),
            ):
                if getattr(module, attribute, None) is right:
                    setattr(module, attribute, wrong)
