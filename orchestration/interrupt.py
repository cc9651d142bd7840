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
    raising = [each for each in _SIGNALS if signal.getsignal(each) is signal.default_int_handler]
    with ExitStack() as restored:
        if ours and raising:
            timer = signal.getitimer(signal.ITIMER_REAL)
            # SIGALRM last, once nothing asks for it any more: its default ends the process.
            restored.callback(signal.setitimer, signal.ITIMER_REAL, *timer)
            previous = signal.signal(signal.SIGALRM, _interrupt)
            restored.callback(signal.signal, signal.SIGALRM, previous)
            restored.callback(signal.setitimer, signal.ITIMER_REAL, 0)
            for number in raising:
                restored.callback(signal.signal, number, signal.signal(number, _interrupt))
        yield


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.setitimer(signal.ITIMER_REAL, _REPEAT_SECONDS)
    if number in _SIGNALS or not is_interrupt(sys.exc_info()[1]):
        raise KeyboardInterrupt
