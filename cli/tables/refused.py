"""What the `data` verbs show of data that is refused: a line for each file, with its reason."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data.refusal import DataRefused

_WIDEST = 60


def print_refused(refusal: "DataRefused") -> None:
    """Prints every reason to stderr, those about files as a table."""
    width = min(_WIDEST, max((len(found.file) for found in refusal.files), default=0))
    in_table = {str(found) for found in refusal.files}
    for found in refusal.files:
        print(f"{found.file + ':':<{width + 1}} {found.reason}", file=sys.stderr)
    for reason in refusal.reasons:
        if reason not in in_table:
            print(reason, file=sys.stderr)
    print("Nothing was taken in.", file=sys.stderr)
