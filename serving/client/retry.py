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
