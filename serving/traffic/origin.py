"""Where a recorded request came from, and how a PredictionLog says it."""

from dataclasses import dataclass
from typing import Any

STABLE = "stable"
CANARY = "canary"

_SEPARATOR = "/"


@dataclass(frozen=True)
class Origin:
    """Where a recorded request came from.

    Attributes:
        request_id: as the access log and the client have it.
        version: that answered.
        variant: `stable` or `canary`; empty: there was no edge in front.
        time: in seconds since 1970; recorded to the second.
    """

    request_id: str
    version: int
    variant: str = STABLE
    time: float = 0.0


def as_request_origin(origin: Origin) -> str:
    """Returns what stands in `log_metadata.request_origin`."""
    return f"{origin.variant}{_SEPARATOR}{origin.request_id}"


def origin_of(log: Any) -> Origin:
    """Reads a PredictionLog's origin; a log that another server wrote has no request id."""
    metadata = log.log_metadata
    # An id may have the separator in it: ids come from clients.
    variant, separator, request_id = metadata.request_origin.partition(_SEPARATOR)
    return Origin(
        request_id=request_id,
        version=metadata.model_spec.version.value,
        variant=variant if separator else "",
        time=float(metadata.timestamp_secs),
    )
