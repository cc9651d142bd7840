"""The one error type of the model server, with gRPC's canonical codes."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """Canonical status codes, numbered as in gRPC (google.rpc.Code)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class ServingError(Exception):
    """An answer other than OK: a canonical code and the message the client is to read."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        """`CODE_NAME: message`, the form absl::Status prints (REST error texts nest it)."""
        return f"{self.code.name}: {self.message}"


class VersionRefusedError(ServingError):
    """A version that must not be served: trying to load it again is of no use."""


def invalid_argument(message: str) -> ServingError:
    """A ServingError with INVALID_ARGUMENT, by far the most frequent code."""
    return ServingError(Code.INVALID_ARGUMENT, message)


def in_one_line(error: ServingError) -> str:
    """The error for a log, where an event is one line: kernels' messages have several."""
    return " ".join(str(error).split())
