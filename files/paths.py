"""What a path means that somebody wrote."""

from pathlib import Path


def resolved(path: Path) -> Path:
    """Returns the whole path for one that somebody wrote, `~` being a user's home.

    Raises:
        ValueError: it is none; the message says why.
    """
    try:
        str(path).encode()
        return path.expanduser().resolve()
    except UnicodeEncodeError:
        raise ValueError("it is not UTF-8") from None
    except RuntimeError as error:  # a home that nobody knows, or links in a circle
        raise ValueError(str(error).partition("\n")[0]) from None
