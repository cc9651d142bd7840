"""Waiting and trying again, the same for REST and gRPC."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from serving.client.errors import (
    ModelFailedError,
    NotFoundError,
    TimeoutExceededError,
    UnavailableError,
)
from serving.client.interface import VersionStatus
from serving.model_server.errors import Code

Answer = TypeVar("Answer")

_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Retries:
    """Try UNAVAILABLE requests again: up to `attempts` in all, waiting longer each time.

    The waits are random between 0 and `first_wait` seconds, doubled for each further one, so that
    many clients do not come back at once.
    """

    attempts: int = 4
    first_wait: float = 0.2

    def run(self, request: Callable[[], Answer]) -> Answer:
        """What `request` returns; raises what it raises last."""
        for attempt in range(self.attempts - 1):
            try:
                return request()
            except UnavailableError:
                time.sleep(random.uniform(0, self.first_wait * 2**attempt))
        return request()


def wait_until_available(
    status: Callable[[], list[VersionStatus]], what: str, timeout: float
) -> VersionStatus:
    """Polls `status` until a version is AVAILABLE; `what` names it in errors.

    A server that is not up yet, or does not know the model yet, is waited for.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            versions = status()
            last: object = [f"{item.version} {item.state}" for item in versions]
        except (UnavailableError, NotFoundError) as error:
            versions, last = [], error
        for item in versions:
            if item.state == "AVAILABLE":
                return item
        _raise_if_given_up(versions, what)
        if time.monotonic() > deadline:
            raise TimeoutExceededError(
                Code.DEADLINE_EXCEEDED, f"{what} is not AVAILABLE after {timeout:g} s: {last}"
            )
        time.sleep(_POLL_SECONDS)


def _raise_if_given_up(versions: list[VersionStatus], what: str) -> None:
    failed = [item for item in versions if item.state == "END" and item.error_code != "OK"]
    if failed and len(failed) == len(versions):
        newest = failed[0]
        code = Code.__members__.get(newest.error_code, Code.UNKNOWN)
        raise ModelFailedError(
            code, f"{what}: version {newest.version} was not loaded: {newest.error_message}"
        )
