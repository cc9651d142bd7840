"""Trying again."""

from collections.abc import Callable

import pytest

from serving.client.errors import (
    ClientError,
    InvalidRequestError,
    ScaledPixelsError,
    UnavailableError,
    client_error,
)
from serving.client.retry import Retries
from serving.status import Code

UNAVAILABLE = client_error(Code.UNAVAILABLE, "not there")


def failing(*errors: Exception) -> tuple[list[int], Callable[[float], str]]:
    """A request that raises the errors in turn, then answers; and a list that counts calls."""
    left, calls = list(errors), [0]

    def request(_seconds: float) -> str:
        calls[0] += 1
        if left:
            raise left.pop(0)
        return "answer"

    return calls, request


def test_unavailable_is_tried_again() -> None:
    calls, request = failing(UNAVAILABLE, UNAVAILABLE)
    assert Retries(attempts=3, first_wait=0).run(request, 1.0) == "answer"
    assert calls == [3]


def test_the_last_error_is_raised() -> None:
    calls, request = failing(*[UNAVAILABLE] * 9)
    with pytest.raises(UnavailableError):
        Retries(attempts=3, first_wait=0).run(request, 1.0)
    assert calls == [3]


def test_no_attempt_is_made_after_the_deadline_for_all_of_them() -> None:
    def request(seconds: float) -> str:
        given.append(seconds)
        raise UNAVAILABLE

    given: list[float] = []
    with pytest.raises(UnavailableError):
        Retries(attempts=10**9, first_wait=0.05, deadline=0.2).run(request, timeout=30.0)
    assert max(given) <= 0.2
    assert given == sorted(given, reverse=True)


def test_other_errors_are_not_tried_again() -> None:
    calls, request = failing(client_error(Code.INVALID_ARGUMENT, "bad"))
    with pytest.raises(InvalidRequestError):
        Retries(first_wait=0).run(request, 1.0)
    assert calls == [1]


def test_every_error_is_a_client_error_with_code_and_message() -> None:
    for code in set(Code) - {Code.OK}:
        error = client_error(code, "why")
        assert (error.code, error.message) == (code, "why")
        assert str(error) == f"{code.name}: why"
    assert issubclass(ScaledPixelsError, InvalidRequestError)
    assert type(client_error(Code.INTERNAL, "")) is ClientError
