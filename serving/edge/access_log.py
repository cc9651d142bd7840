"""Reads the edge's access log: one JSON object a request."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from serving.edge.rotated_log import read_since

# Nothing that a version could be blamed for: who may ask, how much, and clients that went away.
_REFUSED_BY_THE_EDGE = frozenset({401, 403, 413, 429, 499})


@dataclass(frozen=True)
class Access:
    """One request.

    Attributes:
        time: when it was answered, in seconds since 1970.
        request_id: as the client and a recording have it.
        model: that was asked; empty: none.
        variant: `stable` or `canary`; empty: the client chose a version, or asked no model.
        status: HTTP's.
        seconds: from the first byte of the request to the last of the answer.
        server_seconds: the model server's part; None: it was not asked.
    """

    time: float
    request_id: str
    model: str
    variant: str
    status: int
    seconds: float
    server_seconds: float | None

    @property
    def counts(self) -> bool:
        """Whether it says anything about the version."""
        return bool(self.variant) and self.status not in _REFUSED_BY_THE_EDGE

    @property
    def failed(self) -> bool:
        """Whether the answer was no prediction."""
        return self.status >= 400


def read_access(path: Path, since: float = 0.0) -> Iterator[Access]:
    """Returns what was asked since a moment, oldest first, from a log and the one before it.

    A line that is damaged or being written is left out.

    Args:
        path: of the log; it need not exist.
        since: in seconds since 1970.
    """
    return read_since(path, since, _parsed)


def _parsed(line: str) -> Access | None:
    try:
        fields = json.loads(line)
        # Where a request was tried twice, nginx names the seconds of both.
        seconds = str(fields["server_seconds"]).replace(":", ",").split(",")[-1].strip()
        return Access(
            time=float(fields["time"]),
            request_id=str(fields["id"]),
            model=str(fields["model"]),
            variant=str(fields["variant"]),
            status=int(fields["status"]),
            seconds=float(fields["seconds"]),
            server_seconds=float(seconds) if seconds not in ("", "-") else None,
        )
    except (ValueError, KeyError, TypeError):
        return None
