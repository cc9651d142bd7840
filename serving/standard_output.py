"""Standard output for text that others wrote: names of files, errors of libraries."""

from __future__ import annotations

import io
import sys


def take_any_text() -> None:
    """Has standard output escape what its encoding does not have, as standard error always does.

    A name or an error with bytes that are not UTF-8 would otherwise end the program that tells it.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
