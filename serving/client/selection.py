"""How callers name a version, checked before anything is sent."""

from __future__ import annotations

from serving.client.errors import InvalidRequestError
from serving.model_server.errors import Code


def check_selection(version: int | None, label: str | None) -> None:
    """Raises InvalidRequestError if both a version and a label are given."""
    if version is not None and label is not None:
        raise InvalidRequestError(
            Code.INVALID_ARGUMENT,
            f"give a version ({version}) or a label ({label!r}), not both",
        )
