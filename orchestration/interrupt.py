"""Ctrl-C and SIGTERM end a run, also where Python or a library loses what they raised."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_REPEAT_SECONDS = 0.5


def is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C or SIGTERM is behind an error; Beam wraps it as it does any other."""
    while error:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def insistent_interrupts() -> Iterator[None]:
    """Raises KeyboardInterrupt again and again after a signal, until it has left this context.

    Python drops what a signal raises in a finalizer or in a weak reference's callback, of which
    tracing a graph has thousands, and libraries have `except:`. What is cleaning up after an
    interrupt is left alone. Only signals that raise KeyboardInterrupt anyway are concerned.
    """
    ours = threading.current_thread() is threading.main_thread()
    with ExitStack() as restored:
        for number in _SIGNALS if ours else ():
            if signal.getsignal(number) is signal.default_int_handler:
                restored.callback(signal.signal, number, signal.signal(number, _interrupt))
                previous = signal.signal(signal.SIGALRM, _interrupt)
                restored.callback(signal.signal, signal.SIGALRM, previous)
                restored.callback(signal.setitimer, signal.ITIMER_REAL, 0)
        yield


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.setitimer(signal.ITIMER_REAL, _REPEAT_SECONDS)
    if number in _SIGNALS or not is_interrupt(sys.exc_info()[1]):
        raise KeyboardInterrupt
