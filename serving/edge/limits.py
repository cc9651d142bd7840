"""When a trial ends: what a judgement is told, and what settings are read into."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """When a trial ends.

    Attributes:
        min_requests: of the canary, before it is promoted.
        min_seconds: of the trial, before it is promoted.
        min_predictions: of the canary, recorded, before it is promoted.
        false_alarm: chance that an equal version is taken back for errors, or for its labels.
        max_latency_ratio: of the medians of the server's seconds.
        min_slower_milliseconds: a smaller difference of the medians is never too slow.
    """

    min_requests: int = 1000
    min_seconds: float = 600.0
    min_predictions: int = 0
    false_alarm: float = 0.001
    max_latency_ratio: float = 1.5
    min_slower_milliseconds: float = 5.0
