"""Keeps a span that stopped a run out of the windows of later ones."""

from pathlib import Path

from components.idx_example_gen import layout
from data import spans


def quarantine_newest_span(
    data_root: Path, window: int, reasons: list[str], last_span: int | None = None
) -> None:
    """Quarantines the newest span that the run read, unless an official file stopped it.

    Args:
        data_root: the folder with `official/` and `spans/`.
        window: how many spans the run was to read.
        reasons: why its data was refused.
        last_span: the newest span that it was allowed to read; None: any.
    """
    numbers = spans.list_spans(data_root)
    read = layout.window(numbers, window, spans.quarantined(data_root), last_span)
    if read and not any("/official/" in reason for reason in reasons):
        spans.quarantine(data_root, read[-1], "; ".join(reasons))
