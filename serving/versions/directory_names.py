"""What the names in a model's base directory mean; a server loads those that are numbers."""

import re

RECORDS = ".versions"
HIGHEST = f"{RECORDS}/highest"
# No server takes such a name for a version.
ROLLED_BACK_SUFFIX = ".rolled_back"

_INT64_MAX = 2**63 - 1


def version_number(name: str) -> int | None:
    """Reads a directory's name as TensorFlow Serving does; leading zeros are fine."""
    if not re.fullmatch(r"[0-9]+", name) or int(name) > _INT64_MAX:
        return None
    return int(name)
