"""The one error type of the model server."""

from __future__ import annotations

from serving.status import Code


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
