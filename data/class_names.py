"""How the name of a folder names a class, on any system and in any language."""

import re
import unicodedata
from collections.abc import Iterable, Sequence


def same_name(name: str) -> str:
    """The form in which two names are compared: some systems write an accent as a letter's own."""
    return unicodedata.normalize("NFC", name)


def in_natural_order(names: Iterable[str]) -> list[str]:
    """Sorts as people count: 2 before 10, a before B."""
    return sorted(names, key=_natural_key)


def label_of(folder: str, labels: Sequence[str]) -> int | None:
    """The class that a folder's name stands for; None: no class, or more than one.

    A folder is called as its class, or so but for signs that file names cannot have and for
    capital letters, or by the class's number; by a number only where no class is called like one.
    """
    name = same_name(folder)
    known = [same_name(label) for label in labels]
    if name in known:
        return known.index(name)
    alike = [place for place, label in enumerate(known) if plain(label) == plain(name)]
    if plain(name) and len(alike) == 1:
        return alike[0]
    numbers = [str(number) for number in range(len(labels))]
    if name in numbers and not any(label.strip().isdecimal() for label in known):
        return numbers.index(name)
    return None


def _natural_key(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", same_name(name).casefold())
    # Every second part is a number, so that numbers are compared with numbers alone.
    numbers = [(int(part) if place % 2 else 0, part) for place, part in enumerate(parts)]
    return [(place % 2, number, part) for place, (number, part) in enumerate(numbers)]


def plain(name: str) -> str:
    """Letters and digits only, so that ``T-shirt_top`` is T-shirt/top."""
    return re.sub(r"[\W_]", "", name.casefold())
