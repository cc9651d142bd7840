"""What can go wrong when a model server is asked, as one family of exceptions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from serving.status import Code

# With these, a server or what stands before it speaks of itself, not of a model or a request.
_ACCIDENTS = frozenset(
    {
        Code.CANCELLED,
        Code.DEADLINE_EXCEEDED,
        Code.PERMISSION_DENIED,
        Code.RESOURCE_EXHAUSTED,
        Code.UNAVAILABLE,
        Code.UNAUTHENTICATED,
    }
)


class ClientError(Exception):
    """A request that was not answered with OK: the server's code and its message.

    Attributes:
        of_model_server: False for what no such server answers: a proxy's page, half an answer.
    """

    of_model_server = True

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message

    @property
    def is_accident(self) -> bool:
        """Whether it says nothing about a model, and another attempt may end otherwise."""
        return self.code in _ACCIDENTS or not self.of_model_server


class InvalidRequestError(ClientError):
    """The server, or this client before it, refuses the request; sent again it fails again."""


class NotFoundError(ClientError):
    """The server does not serve that model or version."""


class UnavailableError(ClientError):
    """No server answers there, or it cannot answer now."""


class TimeoutExceededError(ClientError):
    """No answer came in the time allowed."""


class NotAvailableError(TimeoutExceededError):
    """A version did not become AVAILABLE in time.

    Attributes:
        seen: what was seen last.
        answered: whether that was a model server's answer about its models.
    """

    def __init__(self, message: str, seen: str, *, answered: bool) -> None:
        super().__init__(Code.DEADLINE_EXCEEDED, message)
        self.seen = seen
        self.answered = answered


class ModelFailedError(ClientError):
    """The server tried to load the version and gave up; `reason` is what it said."""

    def __init__(self, code: Code, message: str, reason: str) -> None:
        super().__init__(code, message)
        self.reason = reason


class ScaledPixelsError(InvalidRequestError):
    """Pixels were scaled already; the model does that itself and its answer would be wrong."""


_ERRORS: dict[Code, type[ClientError]] = {
    Code.INVALID_ARGUMENT: InvalidRequestError,
    Code.FAILED_PRECONDITION: InvalidRequestError,
    Code.OUT_OF_RANGE: InvalidRequestError,
    Code.UNIMPLEMENTED: InvalidRequestError,
    Code.NOT_FOUND: NotFoundError,
    Code.UNAVAILABLE: UnavailableError,
    Code.DEADLINE_EXCEEDED: TimeoutExceededError,
}


def client_error(code: Code, message: str, *, of_model_server: bool = True) -> ClientError:
    """The exception for a code that a server answered."""
    error = _ERRORS.get(code, ClientError)(code, message)
    error.of_model_server = of_model_server
    return error


@contextmanager
def understood(where: str) -> Iterator[None]:
    """Turns what fails on an answer of an unexpected form into a ClientError."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise client_error(
            Code.INTERNAL,
            f"{where} answered something else than a model server does: {error!r}",
            of_model_server=False,
        ) from error
