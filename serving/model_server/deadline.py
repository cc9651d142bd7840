"""The deadline of the call that a thread answers.

The transports set it (`with deadline.at(...)`), and what may wait or run long asks for it. It
belongs to the thread, so that the many functions in between need not hand it on.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType

from serving.model_server.errors import Code, ServingError

# What a session says when a run exceeds its timeout; REST has the same words.
TIMED_OUT = "Timed out waiting for notification"


class _Current(threading.local):
    moment: float | None = None


_current = _Current()


class at:  # noqa: N801 (reads as a function: `with deadline.at(moment)`)
    """Calls made in this block are to be answered by `moment` (monotonic), None for whenever."""

    __slots__ = ("_before", "_moment")

    def __init__(self, moment: float | None) -> None:
        self._moment = moment

    def __enter__(self) -> None:
        self._before = _current.moment
        _current.moment = self._moment

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _current.moment = self._before


def current() -> float | None:
    """The moment (monotonic) by which the caller wants its answer, None for whenever."""
    return _current.moment


def remaining() -> float | None:
    """Seconds left, 0 if there are none, None without a deadline."""
    moment = _current.moment
    return None if moment is None else max(moment - time.monotonic(), 0.0)


def check() -> None:
    """Raises ServingError (DEADLINE_EXCEEDED) if the deadline has passed."""
    moment = _current.moment
    if moment is not None and time.monotonic() >= moment:
        raise exceeded()


def exceeded() -> ServingError:
    """The answer to a call that was not answered in time."""
    return ServingError(Code.DEADLINE_EXCEEDED, TIMED_OUT)
