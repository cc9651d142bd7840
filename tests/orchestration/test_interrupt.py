"""An interrupt that somebody loses comes again; one that is on its way is left alone."""

import signal
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from orchestration.interrupt import insistent_interrupts, is_interrupt

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(autouse=True)
def _as_the_command_line_sets_them() -> Iterator[None]:
    before = {number: signal.signal(number, signal.default_int_handler) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Node:
    pass


def lost_in_a_weak_reference(number: signal.Signals) -> None:
    node = Node()
    reference = weakref.ref(node, lambda _: signal.raise_signal(number))
    del node
    assert reference() is None


def lost_in_a_finalizer(number: signal.Signals) -> None:
    class Closing:
        def __del__(self) -> None:
            signal.raise_signal(number)

    closing = Closing()
    del closing


def lost_in_a_bare_except(number: signal.Signals) -> None:
    with suppress(BaseException):
        signal.raise_signal(number)
        time.sleep(5)


def interrupted() -> None:
    signal.raise_signal(signal.SIGTERM)
    time.sleep(60)


def is_alarm_near() -> bool:
    """Whether one comes that is not the time limit of the test."""
    return 0 < signal.getitimer(signal.ITIMER_REAL)[0] < 1


def was_interrupted(work: Callable[[], None]) -> bool:
    started = time.monotonic()
    try:
        with insistent_interrupts():
            work()
    except KeyboardInterrupt:
        return time.monotonic() - started < 30
    return False


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(
    "lose", [lost_in_a_weak_reference, lost_in_a_finalizer, lost_in_a_bare_except]
)
def test_a_lost_interrupt_comes_again(
    lose: Callable[[signal.Signals], None], number: signal.Signals
) -> None:
    done = []

    def node() -> None:
        lose(number)
        done.append("the step in which it was lost")
        time.sleep(60)

    assert was_interrupted(node)
    assert done


def test_cleaning_up_after_an_interrupt_is_not_interrupted_by_its_repetitions() -> None:
    cleaned = []

    def node() -> None:
        try:
            interrupted()
        finally:
            time.sleep(1.2)
            cleaned.append("its outputs")

    assert was_interrupted(node)
    assert cleaned


def test_a_second_signal_ends_a_cleaning_up_that_hangs() -> None:
    def node() -> None:
        try:
            interrupted()
        finally:
            interrupted()

    assert was_interrupted(node)


def test_nothing_is_repeated_once_the_interrupt_has_left() -> None:
    before = signal.getsignal(signal.SIGALRM)
    assert was_interrupted(interrupted)
    assert not is_alarm_near()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGALRM) is before


def test_an_alarm_of_somebody_else_is_set_again_afterwards() -> None:
    before = signal.getitimer(signal.ITIMER_REAL)
    handler = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 50)
    try:
        assert was_interrupted(interrupted)
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        assert 0 < left <= 50
        assert signal.getsignal(signal.SIGALRM) is signal.SIG_IGN
    finally:
        signal.setitimer(signal.ITIMER_REAL, *before)
        signal.signal(signal.SIGALRM, handler)


def test_a_signal_while_all_is_put_back_leaves_no_alarm_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The default of SIGALRM ends the process."""
    before, set_handler = signal.getsignal(signal.SIGALRM), signal.signal

    def interrupted_after(number: int, handler: Any) -> Any:
        found = set_handler(number, handler)
        if number == signal.SIGALRM and handler is before:
            signal.raise_signal(signal.SIGINT)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(signal, "signal", interrupted_after)
        assert was_interrupted(lambda: None)
    assert not is_alarm_near()


def test_a_program_that_handles_its_signals_keeps_its_handlers() -> None:
    received = []
    for number in SIGNALS:
        signal.signal(number, lambda number, _: received.append(number))
    with insistent_interrupts():
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0.7)
    assert received == [signal.SIGTERM]


def test_an_interrupt_is_known_by_what_it_was_wrapped_in() -> None:
    try:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise RuntimeError("in a Beam worker") from error
    except RuntimeError as error:
        wrapped = error
    assert is_interrupt(wrapped)
    assert not is_interrupt(RuntimeError("of its own"))
