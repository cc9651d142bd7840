"""Keeps the output of TensorFlow, absl and Beam away from the terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO


@dataclass(frozen=True)
class Terminal:
    """The process' own standard streams, as they were before the redirection."""

    stdout: TextIO
    stderr: TextIO


def redirect_to(log_file: Path) -> Terminal:
    """Sends whatever is written to file descriptors 1 and 2 to a file, for good.

    C++ libraries write to the descriptors, some of them as late as at exit, so that exchanging
    `sys.stdout` is not enough and there is no way back.
    """
    terminal = Terminal(stdout=_duplicate(1), stderr=_duplicate(2))
    log_file.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    return terminal


def _duplicate(descriptor: int) -> TextIO:
    """A stream that takes any text, as `take_any_text` has it."""
    return os.fdopen(os.dup(descriptor), "w", buffering=1, errors="backslashreplace")


@contextmanager
def tensorflow_silent() -> Iterator[None]:
    """Drops what is written to file descriptor 2: for short work with TensorFlow, without a log."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
