"""What is raised when the data, not the code, is to blame."""

from collections.abc import Iterable, Sequence


class DataRefused(Exception):
    """The input data cannot or must not be trained on; the run ends with exit code 5.

    Attributes:
        reasons: one sentence per defect, each naming the file or feature it is about.
        blamed_spans: the spans against which there is evidence of their own, ascending; for
            anything else the data stays.
    """

    def __init__(self, reasons: Sequence[str], blamed_spans: Iterable[int] = ()) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = list(reasons)
        self.blamed_spans = sorted(set(blamed_spans))
