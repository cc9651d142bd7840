"""What people read on a terminal, without a text being taken for anything but itself."""

from typing import TextIO

from rich.console import Console


def plain_console(stream: TextIO, width: int | None = None) -> Console:
    """Returns a console that shows every text as it is, in tables as well.

    Names of classes, paths and reasons are a user's: `[/]` or `:bag:` in them means nothing.

    Args:
        stream: where it prints.
        width: at which tables are folded; None: the terminal's.
    """
    return Console(
        file=stream, width=width, markup=False, emoji=False, highlight=False, soft_wrap=True
    )
