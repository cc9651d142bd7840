"""The files of a recording; imports nothing heavy."""

import re
import time
from pathlib import Path

_NAME = r"-\d{8}T\d{6}-\d+(?:-(\d+))?\.tfrecord"
_DAY_SECONDS = 86_400.0


def recordings(directory: Path, model: str | None = None) -> list[Path]:
    """Returns the files of a model's recording, the one that was written last at the end.

    Args:
        directory: of recordings; it need not exist.
        model: its name; None: of any model.
    """
    name = re.compile((".+" if model is None else re.escape(model)) + _NAME)
    found = []
    for path in directory.glob("*.tfrecord"):
        if match := name.fullmatch(path.name):
            try:
                # Files of one process may be written within one tick of the file system's clock.
                found.append((path.stat().st_mtime_ns, int(match[1] or 0), path))
            except FileNotFoundError:
                continue
    return [path for *_, path in sorted(found)]


def recordings_before(directory: Path, days: int) -> list[Path]:
    """Returns the recordings to which nothing was written for so many days; of 0 days, none."""
    since = time.time() - days * _DAY_SECONDS
    return [path for path in recordings(directory) if days and path.stat().st_mtime < since]
