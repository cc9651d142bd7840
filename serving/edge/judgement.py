"""Is the version on trial worse than the one beside it? Statistics of what both answered.

It is looked at when the canary has had 50 requests, 100, 200 and so on, each time at those requests
and what the other version had until then. Looking again in between sees the same, so however
often and by whomever it is asked, a sound version meets few looks. Half of the chance of a false
alarm is shared out among them (a quarter, an eighth, ...), half is left to the last look, which
sees everything, before the version is promoted.
"""

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, Field
from scipy import stats

from serving.edge.access_log import Access
from serving.edge.answer_log import PredictedLabel
from serving.edge.canary import CANARY, STABLE
from serving.edge.limits import Limits

_FIRST_LOOK = 50
# Times of requests that follow each other are alike.
_ENOUGH_TIMES = 100
_STRETCHES = 4
# A chi-square test of a table wants about so many in each of its cells.
_FEW = 5
_OTHERS = "others"

_Seen = TypeVar("_Seen", Access, PredictedLabel)


class Verdict(StrEnum):
    """What is to be done with a version on trial."""

    WAIT = "wait"
    PROMOTE = "promote"
    ABORT = "abort"


class VariantFigures(BaseModel):
    """What one variant answered.

    Attributes:
        variant: `stable` or `canary`.
        requests: that say something about it.
        errors: of them.
        p50_ms: median of the server's part of the time; None: there was no answer.
        p99_ms: of the same.
        labels: how often each was predicted, of what was recorded.
    """

    variant: str
    requests: int
    errors: int
    p50_ms: float | None = None
    p99_ms: float | None = None
    labels: dict[str, int] = Field(default_factory=dict)


class Judgement(BaseModel):
    """What was found, and what follows from it."""

    verdict: Verdict
    reasons: list[str]
    variants: list[VariantFigures]


def judge(
    accesses: Sequence[Access],
    answers: Sequence[PredictedLabel],
    limits: Limits,
    age_seconds: float,
) -> Judgement:
    """Compares a version on trial with the one beside it.

    Args:
        accesses: requests of the trial, oldest first.
        answers: recorded predictions of the trial, oldest first.
        limits: when it ends.
        age_seconds: of the trial.
    """
    counted = [access for access in accesses if access.counts]
    variants = [figures_of(variant, counted, answers) for variant in (STABLE, CANARY)]
    seen, chance = _look(counted, limits.false_alarm)
    predicted, predicted_chance = _look(answers, limits.false_alarm)
    reasons = [*_more_errors(seen, chance), *_slower(seen, limits)]
    if reasons := reasons + _other_labels(predicted, predicted_chance):
        return Judgement(verdict=Verdict.ABORT, reasons=reasons, variants=variants)
    missing = []
    if variants[1].requests < limits.min_requests:
        missing.append(f"{variants[1].requests} of {limits.min_requests} requests")
    if (recorded := len(_of(answers, CANARY))) < limits.min_predictions:
        missing.append(f"{recorded} of {limits.min_predictions} recorded predictions")
    if age_seconds < limits.min_seconds:
        missing.append(f"{age_seconds:.0f} of {limits.min_seconds:.0f} seconds")
    if missing:
        why = [f"nothing speaks against it so far; it has had {' and '.join(missing)}"]
        return Judgement(verdict=Verdict.WAIT, reasons=why, variants=variants)
    last = limits.false_alarm / 2
    reasons = [*_more_errors(counted, last), *_slower(counted, limits)]
    if reasons := reasons + _other_labels(answers, last):
        return Judgement(verdict=Verdict.ABORT, reasons=reasons, variants=variants)
    why = [
        f"{variants[1].requests} requests in {age_seconds:.0f} s: no more errors, not slower, "
        + ("no other labels" if answers else "labels were not recorded")
    ]
    return Judgement(verdict=Verdict.PROMOTE, reasons=why, variants=variants)


def _more_errors(seen: Sequence[Access], chance: float) -> list[str]:
    canary, stable = _of(seen, CANARY), _of(seen, STABLE)
    if not canary or not stable:
        return []
    failed = [sum(access.failed for access in group) for group in (canary, stable)]
    table = [[failed[0], len(canary) - failed[0]], [failed[1], len(stable) - failed[1]]]
    p = float(stats.fisher_exact(table, alternative="greater").pvalue)
    if p >= chance:
        return []
    return [
        f"more errors: {failed[0]} of {len(canary)} requests, against {failed[1]} of "
        f"{len(stable)} (p = {p:.1g})"
    ]


def _slower(seen: Sequence[Access], limits: Limits) -> list[str]:
    # Each of nginx's processes writes its lines a second late, in one piece.
    seen = sorted(seen, key=lambda access: access.time)
    places = [place for place, each in enumerate(seen) if each.variant == CANARY]
    if len(places) < _ENOUGH_TIMES:
        return []
    # What the other version did before is no comparison: the machine may have been less busy then.
    # And a busy moment is no reason: most stretches of the trial have to say the same.
    starts = [places[number * len(places) // _STRETCHES] for number in range(_STRETCHES)]
    ends = [*starts[1:], len(seen)]
    beside = seen[starts[0] :]
    slow = sum(_is_slower(seen[start:end], limits) for start, end in zip(starts, ends, strict=True))
    if not _is_slower(beside, limits) or slow < _STRETCHES - 1:
        return []
    canary, stable = (float(np.median(_milliseconds(beside, name))) for name in (CANARY, STABLE))
    return [
        f"slower: a median of {canary:.1f} ms, against {stable:.1f} ms "
        f"(allowed are {limits.max_latency_ratio:g} times as much)"
    ]


def _is_slower(seen: Sequence[Access], limits: Limits) -> bool:
    canary, stable = _milliseconds(seen, CANARY), _milliseconds(seen, STABLE)
    if not canary or not stable:
        return False
    slow, usual = float(np.median(canary)), float(np.median(stable))
    more = slow - usual >= limits.min_slower_milliseconds
    return more and slow >= limits.max_latency_ratio * usual


def _other_labels(seen: Sequence[PredictedLabel], chance: float) -> list[str]:
    stable, canary = ([each.label for each in _of(seen, name)] for name in (STABLE, CANARY))
    if not stable or not canary:
        return []
    names = _frequent(stable, canary)
    counted = [
        Counter(label if label in names else _OTHERS for label in each) for each in (stable, canary)
    ]
    columns = sorted(counted[0] | counted[1])
    table = np.array([[counter[label] for label in columns] for counter in counted])
    if len(columns) < 2:
        return []
    p = float(stats.chi2_contingency(table).pvalue)
    if p >= chance:
        return []
    shares = table / table.sum(axis=1, keepdims=True)
    most = int(np.abs(shares[1] - shares[0]).argmax())
    return [
        f"other labels: {columns[most]} is {shares[1][most]:.1%} of {len(canary)} predictions, "
        f"against {shares[0][most]:.1%} of {len(stable)} (p = {p:.1g})"
    ]


def _frequent(stable: list[str], canary: list[str]) -> set[str]:
    """Returns the labels that are expected often enough on both sides to be compared."""
    both = Counter(stable + canary)
    smaller = min(len(stable), len(canary)) / len(stable + canary)
    return {label for label, count in both.items() if count * smaller >= _FEW}


def _look(everything: Sequence[_Seen], false_alarm: float) -> tuple[list[_Seen], float]:
    """Returns what the newest look sees, and the chance of a false alarm that is left to it."""
    of_canary = [place for place, each in enumerate(everything) if each.variant == CANARY]
    if len(of_canary) < _FIRST_LOOK:
        return [], 0.0
    number = int(np.log2(len(of_canary) / _FIRST_LOOK))
    last = of_canary[_FIRST_LOOK * 2**number - 1]
    return list(everything[: last + 1]), false_alarm / 2 ** (number + 2)


def _of(group: Sequence[_Seen], variant: str) -> list[_Seen]:
    return [each for each in group if each.variant == variant]


def _milliseconds(accesses: Sequence[Access], variant: str) -> list[float]:
    return [
        1000 * access.server_seconds
        for access in _of(accesses, variant)
        if access.server_seconds is not None and not access.failed
    ]


def figures_of(
    variant: str, accesses: Sequence[Access], answers: Sequence[PredictedLabel] = ()
) -> VariantFigures:
    """Counts what one variant answered.

    Args:
        variant: its name.
        accesses: requests, of any variant, that say something about it.
        answers: predictions, of any variant.
    """
    mine, times = _of(accesses, variant), _milliseconds(accesses, variant)
    p50, p99 = np.percentile(times, [50, 99]) if times else (None, None)
    return VariantFigures(
        variant=variant,
        requests=len(mine),
        errors=sum(access.failed for access in mine),
        p50_ms=p50 if p50 is None else round(float(p50), 2),
        p99_ms=p99 if p99 is None else round(float(p99), 2),
        labels=dict(Counter(each.label for each in _of(answers, variant))),
    )
