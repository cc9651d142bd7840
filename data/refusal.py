"""What is raised when the data, not the code, is to blame."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FileProblem:
    """What is wrong with one file or folder.

    Attributes:
        file: its path, in characters that can be printed.
        reason: half a sentence.
    """

    file: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


class DataRefused(Exception):
    """The input data cannot or must not be trained on; the run ends with exit code 5.

    Attributes:
        reasons: one sentence per defect, each naming the file or feature it is about.
        blamed_spans: the spans against which there is evidence of their own, ascending; for
            anything else the data stays.
        files: the files among the defects, for a table.
    """

    def __init__(
        self,
        reasons: Sequence[str | FileProblem],
        blamed_spans: Iterable[int] = (),
    ) -> None:
        super().__init__("; ".join(map(str, reasons)))
        self.reasons = list(map(str, reasons))
        self.files = [reason for reason in reasons if isinstance(reason, FileProblem)]
        self.blamed_spans = sorted(set(blamed_spans))

    def with_paths_in(self, folder: str, instead_of: str) -> "DataRefused":
        """The same refusal, of files in `folder`, for which others stood in."""
        files = {str(each): each for each in self.files}

        def renamed(text: str) -> str:
            return text.replace(instead_of, folder)

        reasons = [
            FileProblem(renamed(files[text].file), renamed(files[text].reason))
            if text in files
            else renamed(text)
            for text in self.reasons
        ]
        return DataRefused(reasons, self.blamed_spans)
