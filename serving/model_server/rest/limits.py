"""How much of the process clients of the REST API can take: connections, bytes, time.

TensorFlow Serving has none of these bounds but the timeout: there, clients can use up the memory.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from serving.model_server.errors import Code, ServingError

_MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """The bounds. `timeout_seconds` is None for requests that may take any time.

    `max_memory_bytes` is for all requests and answers together, `max_body_bytes` for one body, as
    it is sent and uncompressed.
    """

    max_connections: int = 1000
    max_body_bytes: int = 256 * _MEBIBYTE
    max_memory_bytes: int = 1024 * _MEBIBYTE
    timeout_seconds: float | None = 30.0


class TooLargeError(ServingError):
    """A request that the limits never allow; over HTTP, 413."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.RESOURCE_EXHAUSTED, message)


class Budget:
    """Bytes that all requests and answers may hold at a time. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held = 0
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        return self._held

    def take(self, count: int) -> bool:
        """Takes `count` bytes if they are left; returns whether they were."""
        with self._lock:
            if self._held + count > self.limit:
                return False
            self._held += count
            return True

    def give_back(self, count: int) -> None:
        with self._lock:
            self._held -= count


class Claim:
    """What one request or answer has taken of a budget.

    It goes with what it stands for, and is given back once nothing refers to it any more: a thread
    that still reads a body keeps the body's bytes taken, whatever became of the connection.
    """

    __slots__ = ("_budget", "_held")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._held = 0

    def __del__(self) -> None:
        self._budget.give_back(self._held)

    def reach(self, size: int) -> bool:
        """Takes what is missing to `size` bytes; returns whether the budget had it left."""
        missing = size - self._held
        if missing > 0:
            if not self._budget.take(missing):
                return False
            self._held = size
        return True

    def take(self, count: int) -> None:
        """Takes `count` more bytes.

        Raises ServingError: UNAVAILABLE if they are not left now, TooLargeError if never.
        """
        size = self._held + count
        if not self.reach(size):
            raise out_of_memory(size, self._budget.limit)


def out_of_memory(size: int, limit: int) -> ServingError:
    """The refusal of a request that needs `size` bytes."""
    if size > limit:
        return TooLargeError(
            f"The request needs about {size} bytes of memory; "
            f"--rest_api_max_memory_bytes allows {limit} to all requests together"
        )
    return ServingError(
        Code.UNAVAILABLE,
        f"The requests under way hold the {limit} bytes of --rest_api_max_memory_bytes; "
        "try again later",
    )


def body_too_large(limit: int) -> TooLargeError:
    """The refusal of a body longer than `limit` bytes."""
    return TooLargeError(
        f"The request's body is larger than the {limit} bytes of --rest_api_max_body_bytes"
    )
