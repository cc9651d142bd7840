"""What a component raises when the data, not the code, is to blame."""

from collections.abc import Sequence


class DataRefused(Exception):
    """The input data cannot or must not be trained on; the run ends with exit code 5.

    Attributes:
        reasons: one sentence per defect, each naming the file or feature it is about.
    """

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = list(reasons)
