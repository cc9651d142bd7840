"""How long calls of a servable take, to tell the quick ones before they are made."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

QUICK_SECONDS = 0.001
"""The average that a quick call stays below."""

LONGEST_PAUSE_SECONDS = 0.05
"""What no recent call may have reached: some models are slow for some inputs only."""

# Clients choose much of what tells calls apart.
_MAX_KINDS_OF_CALLS = 4096
_WEIGHT_OF_LAST_CALL = 0.2
_FADING_OF_SLOWEST_CALL = 0.98


@dataclass(slots=True)
class _Times:
    average: float
    slowest: float = 0.0


class CallTimes:
    """Seconds that calls took, by what they have in common.

    The average follows the last few calls; the slowest call is forgotten over hundreds.
    """

    def __init__(
        self, average: float = QUICK_SECONDS, longest: float = LONGEST_PAUSE_SECONDS
    ) -> None:
        """Quick is what takes less than `average` and lately never took `longest` seconds."""
        self._average = average
        self._longest = longest
        self._times: dict[Hashable, _Times] = {}

    def are_quick(self, call: Hashable, patience: float = 1.0) -> bool:
        """Whether calls like this one are quick; False if there was none.

        `patience` is how many times as long they may take on average.
        """
        times = self._times.get(call)
        return (
            times is not None
            and times.average < self._average * patience
            and times.slowest < self._longest
        )

    def note(self, call: Hashable, seconds: float) -> None:
        """Remembers how long a call took."""
        times = self._times.get(call)
        if times is None:
            if len(self._times) >= _MAX_KINDS_OF_CALLS:
                self._times.clear()
            times = self._times[call] = _Times(seconds)
        times.average += _WEIGHT_OF_LAST_CALL * (seconds - times.average)
        times.slowest = max(seconds, times.slowest * _FADING_OF_SLOWEST_CALL)
