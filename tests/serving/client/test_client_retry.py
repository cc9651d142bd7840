"""Trying again, and waiting for a version."""

from collections.abc import Callable

import pytest

from serving.client.errors import (
    ClientError,
    InvalidRequestError,
    ModelFailedError,
    NotFoundError,
    ScaledPixelsError,
    TimeoutExceededError,
    UnavailableError,
    client_error,
)
from serving.client.interface import VersionStatus
from serving.client.retry import Retries, wait_until_available
from serving.model_server.errors import Code

UNAVAILABLE = client_error(Code.UNAVAILABLE, "not there")


def failing(*errors: Exception) -> tuple[list[int], Callable[[], str]]:
    """A request that raises the errors in turn, then answers; and a list that counts calls."""
    left, calls = list(errors), [0]

    def request() -> str:
        calls[0] += 1
        if left:
            raise left.pop(0)
        return "answer"

    return calls, request


def test_unavailable_is_tried_again() -> None:
    calls, request = failing(UNAVAILABLE, UNAVAILABLE)
    assert Retries(attempts=3, first_wait=0).run(request) == "answer"
    assert calls == [3]


def test_the_last_error_is_raised() -> None:
    calls, request = failing(*[UNAVAILABLE] * 9)
    with pytest.raises(UnavailableError):
        Retries(attempts=3, first_wait=0).run(request)
    assert calls == [3]


def test_other_errors_are_not_tried_again() -> None:
    calls, request = failing(client_error(Code.INVALID_ARGUMENT, "bad"))
    with pytest.raises(InvalidRequestError):
        Retries(first_wait=0).run(request)
    assert calls == [1]


def test_every_error_is_a_client_error_with_code_and_message() -> None:
    for code in set(Code) - {Code.OK}:
        error = client_error(code, "why")
        assert (error.code, error.message) == (code, "why")
        assert str(error) == f"{code.name}: why"
    assert issubclass(ScaledPixelsError, InvalidRequestError)
    assert type(client_error(Code.INTERNAL, "")) is ClientError


def statuses(*answers: list[VersionStatus] | Exception) -> Callable[[], list[VersionStatus]]:
    """The answers in turn; the last one for ever."""
    left = list(answers)

    def status() -> list[VersionStatus]:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return status


def test_waiting_ends_with_the_first_available_version() -> None:
    status = statuses(
        UNAVAILABLE,
        NotFoundError(Code.NOT_FOUND, "no model yet"),
        [VersionStatus(2, "LOADING")],
        [VersionStatus(3, "LOADING"), VersionStatus(2, "AVAILABLE")],
    )
    assert wait_until_available(status, "m", timeout=60).version == 2


def test_waiting_ends_when_the_server_has_given_up() -> None:
    failed = VersionStatus(2, "END", "NOT_FOUND", "no saved_model.pb")
    with pytest.raises(ModelFailedError, match=r"version 2 was not loaded: no saved_model\.pb"):
        wait_until_available(statuses([failed]), "m", timeout=60)


def test_a_failed_version_beside_one_that_loads_is_waited_for() -> None:
    failed = VersionStatus(2, "END", "NOT_FOUND", "no saved_model.pb")
    status = statuses(
        [VersionStatus(3, "LOADING"), failed], [VersionStatus(3, "AVAILABLE"), failed]
    )
    assert wait_until_available(status, "m", timeout=60).version == 3


def test_waiting_ends_with_what_was_seen_last() -> None:
    with pytest.raises(TimeoutExceededError, match=r"m is not AVAILABLE after 0 s: .*2 LOADING"):
        wait_until_available(statuses([VersionStatus(2, "LOADING")]), "m", timeout=0)
