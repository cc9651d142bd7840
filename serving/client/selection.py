"""How callers name a version and a signature, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping

from serving.client.errors import InvalidRequestError
from serving.client.interface import Signature
from serving.status import Code


def check_selection(version: int | None, label: str | None) -> None:
    """Raises InvalidRequestError if both a version and a label are given, or not a version."""
    if version is not None and not 0 <= version < 2**63:
        raise InvalidRequestError(Code.INVALID_ARGUMENT, f"{version} is not a version number")
    if version is not None and label:
        raise InvalidRequestError(
            Code.INVALID_ARGUMENT,
            f"give a version ({version}) or a label ({label!r}), not both",
        )


def choose_signature(signatures: Mapping[str, Signature], name: str) -> Signature:
    """Returns a model's signature by name, `serving_default` if that is empty.

    Raises InvalidRequestError if the model has no such signature.
    """
    name = name or "serving_default"
    if name not in signatures:
        raise InvalidRequestError(
            Code.INVALID_ARGUMENT, f"no signature {name!r}; the model has {sorted(signatures)}"
        )
    return signatures[name]
