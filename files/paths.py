"""What a path means that somebody wrote."""

import errno
from pathlib import Path


def resolved(path: Path) -> Path:
    """Returns the whole path for one that somebody wrote, `~` being a user's home.

    Raises:
        NotADirectoryError: nothing says where that home is, as in a container whose user is none
            of its system's.
    """
    try:
        return path.expanduser().resolve()
    except RuntimeError as error:
        why = "nothing says where that home is; HOME can"
        raise NotADirectoryError(errno.ENOTDIR, why, str(path)) from error
