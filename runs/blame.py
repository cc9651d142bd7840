"""Which spans a refusal is put down to; nothing is quarantined without evidence against it."""

import re
from pathlib import Path

from data.layout import origin_of
from data.quarantine import QuarantineError, quarantine
from runs.exit_status import Status
from runs.result import RunResult, results

_STAYS = {
    Status.DATA_REFUSED: (
        "no span was quarantined, because nothing speaks against one alone: look at the schema, at "
        "data.labels, at serving.max_pixels and at what changed since the last push; "
        "`runner.py data quarantine N --reason ...` leaves one out"
    ),
    Status.NOT_BLESSED: (
        "no span was quarantined, because these settings, code and schema have not passed with "
        "other data yet: look at what changed since the last push; `runner.py data quarantine N "
        "--reason ...` leaves a span out"
    ),
}


def settle_blame(data_root: Path, runs_dir: Path, result: RunResult) -> None:
    """Quarantines the spans that a refusal is put down to, or says why it quarantines none.

    What ExampleGen and the anomaly gate refuse, they name themselves, by the spans' own files and
    statistics. A candidate that misses a span's threshold says something about the span only if a
    run with the same settings, code and schema has passed.

    Args:
        data_root: the folder with `base/` and `spans/`.
        runs_dir: where results are kept.
        result: of the run, with its verdict and the suspected spans in `blamed_spans`.
    """
    suspects = result.blamed_spans
    if result.status is Status.NOT_BLESSED and suspects and not _has_passed(runs_dir, result):
        suspects = []
    stays = _STAYS.get(result.status)
    unproven = not suspects and (result.blamed_spans or result.new_spans)
    if stays and unproven and stays not in result.reasons:
        result.reasons.append(stays)
    result.blamed_spans = suspects
    for span in suspects:
        try:
            quarantine(data_root, span, "; ".join(_about(span, result.reasons)))
        except (OSError, QuarantineError) as error:
            result.reasons.append(f"span {span} could not be quarantined: {error}")


def _about(span: int, reasons: list[str]) -> list[str]:
    """The sentences that name a span by its origin or its folder; all, where none does."""
    named = re.compile(rf"({re.escape(origin_of(span))}|spans/{span})(?!\d)")
    return [reason for reason in reasons if named.search(reason)] or reasons


def _has_passed(runs_dir: Path, result: RunResult) -> bool:
    return bool(result.basis) and any(
        earlier.basis == result.basis and earlier.status.is_served
        for earlier in results(runs_dir)
        if earlier.run_id != result.run_id
    )
