"""The lines of a file, as whoever wrote it ended them."""


def lines_of(text: str) -> list[str]:
    """Returns the lines of a text; only a newline ends one.

    `str.splitlines` ends one at U+2028 and eight more as well, which JSON and names of files hold.
    """
    return text.removesuffix("\n").split("\n") if text else []
