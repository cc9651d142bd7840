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


_PASSING_CODES = (Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE, Code.PERMISSION_DENIED)


def as_serving_error(error: BaseException) -> ServingError:
    """Any exception as an answer or a state: what every loop and handler does with what it catches.

    TensorFlow's errors keep their code, a lack of memory is RESOURCE_EXHAUSTED, an error of the
    file system UNKNOWN, and everything else INTERNAL with the exception's name.
    """
    if isinstance(error, ServingError):
        return error
    text = str(error)
    code = getattr(error, "error_code", None)
    if isinstance(code, int) and code in Code.__members__.values():
        found = ServingError(Code(code), getattr(error, "message", text))
    elif isinstance(error, MemoryError):
        found = ServingError(Code.RESOURCE_EXHAUSTED, text or "out of memory")
    elif isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        found = ServingError(Code.UNKNOWN, f"{where}{error.strerror or text}")
    else:
        found = ServingError(Code.INTERNAL, f"{type(error).__name__}: {text}")
    found.__cause__ = error
    return found


def may_pass(error: ServingError) -> bool:
    """Whether the error lies in the surroundings (files, memory), not in what was to be loaded."""
    return error.code in _PASSING_CODES or isinstance(error.__cause__, OSError | MemoryError)


def utf8_text(message: str) -> str:
    """A message as protobuf and gRPC take it: it may quote bytes that are not UTF-8."""
    return message.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def in_one_line(error: ServingError) -> str:
    """The error for a log, where an event is one line: kernels' messages have several."""
    return " ".join(str(error).split())
