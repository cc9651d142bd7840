"""Keeps a span that made a run end without a push out of the windows of later ones."""

from collections.abc import Iterable
from pathlib import Path

from data.quarantine import quarantine
from data.spans import usable_spans
from runs.result import RunResult, Status


def blamed_span(reasons: Iterable[str], spans_read: Iterable[int]) -> int | None:
    """Returns the span that refused data is put down to; None when a file of the base is unsound.

    Args:
        reasons: why the data was refused.
        spans_read: what the run read, of which the newest is the only one not tried before.
    """
    if any(part in reason for reason in reasons for part in ("/base/", "/official/")):
        return None
    return max(spans_read, default=None)


def name_refused_span(
    data_root: Path, window: int, result: RunResult, last_span: int | None = None
) -> None:
    """Finds out which span refused data is put down to, unless the result names it already.

    Args:
        data_root: the folder with `base/` and `spans/`.
        window: how many spans the run was to read.
        result: of the run, with its verdict.
        last_span: the newest span that it was allowed to read; None: any.
    """
    if result.status is Status.DATA_REFUSED and result.refused_span is None:
        read = usable_spans(data_root, window, last_span)
        result.refused_span = blamed_span(result.reasons, read)


def quarantine_refused_span(data_root: Path, result: RunResult) -> None:
    """Quarantines the span that a refusal, of data or of a model, is put down to, if there is one.

    Args:
        data_root: the folder with `base/` and `spans/`.
        result: of the run, with its verdict.
    """
    if result.refused_span is not None:
        quarantine(data_root, result.refused_span, "; ".join(result.reasons))
