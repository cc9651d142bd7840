"""Reading back what the program itself keeps: a damaged file costs what it held, and no more."""

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

logger = logging.getLogger(__name__)

_ContentT = TypeVar("_ContentT")


def read_kept(path: Path, parse: Callable[[bytes], _ContentT]) -> _ContentT | None:
    """Returns what a file holds; None: there is none, or it is damaged, which is a line in the log.

    Args:
        path: the file.
        parse: makes sense of its bytes, and raises ValueError where there is none.
    """
    try:
        return parse(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _warn(path, str(error).partition("\n")[0])
        return None


def set_aside(path: Path) -> Path:
    """Renames a damaged file so that nothing reads it again, and returns what it is called now.

    Raises:
        OSError: it cannot be renamed.
    """
    return path.replace(path.with_name(f"{path.name}.unreadable"))


@cache  # Said once, however often a file is looked at.
def _warn(path: Path, why: str) -> None:
    logger.warning("%s is damaged and passed over: %s", path, why)
