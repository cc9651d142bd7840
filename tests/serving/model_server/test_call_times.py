"""Which calls count as quick."""

import pytest

from serving.model_server.call_times import CallTimes


@pytest.fixture
def times() -> CallTimes:
    return CallTimes()


def note(times: CallTimes, count: int, seconds: float) -> None:
    for _ in range(count):
        times.note("call", seconds)


def test_a_call_never_made_is_not_quick(times: CallTimes) -> None:
    assert not times.are_quick("call")


def test_calls_are_quick_by_their_average(times: CallTimes) -> None:
    note(times, 1, 0.0002)
    assert times.are_quick("call")
    assert not times.are_quick("another")
    note(times, 20, 0.002)
    assert not times.are_quick("call")
    note(times, 20, 0.0002)
    assert times.are_quick("call")


def test_a_hiccup_is_soon_forgotten(times: CallTimes) -> None:
    note(times, 10, 0.0002)
    note(times, 1, 0.02)
    note(times, 30, 0.0002)
    assert times.are_quick("call")


def test_a_call_that_would_have_kept_everybody_waiting_is_remembered(times: CallTimes) -> None:
    note(times, 10, 0.0002)
    note(times, 1, 5.0)
    note(times, 150, 0.0002)
    assert not times.are_quick("call")
    note(times, 150, 0.0002)
    assert times.are_quick("call")
