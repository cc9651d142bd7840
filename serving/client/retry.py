"""Trying again, the same for REST and gRPC."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from serving.client.errors import UnavailableError

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Retries:
    """Try UNAVAILABLE requests again: up to `attempts` in all, waiting longer each time.

    The waits are random between 0 and `first_wait` seconds, doubled for each further one, so that
    many clients do not come back at once. `deadline` is in seconds and for all attempts and waits
    together: none begins after it, and none may take longer than what is left of it.
    """

    attempts: int = 4
    first_wait: float = 0.2
    deadline: float = 120.0

    def run(self, request: Callable[[float], Answer], timeout: float) -> Answer:
        """Returns what `request` returns; raises what it raises last.

        Args:
            request: is given the seconds that it may take.
            timeout: seconds for one attempt.
        """
        ends = time.monotonic() + self.deadline
        for attempt in range(self.attempts - 1):
            try:
                return request(min(timeout, ends - time.monotonic()))
            except UnavailableError:
                wait = random.uniform(0, self.first_wait * 2**attempt)
                if time.monotonic() + wait >= ends:
                    raise
                time.sleep(wait)
        return request(min(timeout, max(ends - time.monotonic(), 0.001)))
