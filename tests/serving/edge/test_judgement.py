"""When a version on trial is promoted, taken back, or has to wait."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from serving.edge.access_log import Access
from serving.edge.answer_log import PredictedLabel
from serving.edge.judgement import Judgement, Verdict, judge
from serving.edge.limits import Limits

LIMITS = Limits(min_requests=400, min_seconds=60)
LABELS = ["boot", "bag", "shirt", "coat"]
SHARES = np.array([0.5, 0.2, 0.2, 0.1])


def traffic(
    seed: int,
    count: int = 4000,
    share: float = 0.2,
    errors: tuple[float, float] = (0.001, 0.001),
    slower_ms: float = 0.0,
) -> list[Access]:
    """Requests of both variants; `errors` are the shares of stable and canary."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        is_canary = bool(rng.random() < share)
        seconds = 0.002 + rng.exponential(0.002) + is_canary * slower_ms / 1000
        status = 500 if rng.random() < errors[is_canary] else 200
        variant = "canary" if is_canary else "stable"
        found.append(Access(number, str(number), "grey", variant, status, seconds, seconds))
    return found


def predicted(seed: int, canary: np.ndarray, count: int = 4000) -> list[PredictedLabel]:
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        variant, shares = ("canary", canary) if rng.random() < 0.2 else ("stable", SHARES)
        label = LABELS[rng.choice(len(LABELS), p=shares)]
        found.append(PredictedLabel(number, variant, 1, label))
    return found


def judged(
    accesses: list[Access], answers: list[PredictedLabel] | None = None, age: float = 100.0
) -> Judgement:
    return judge(accesses, answers or [], LIMITS, age)


def test_a_good_version_is_promoted_after_requests_and_time() -> None:
    found = judged(traffic(1), predicted(1, SHARES))
    assert found.verdict is Verdict.PROMOTE
    assert "no more errors, not slower, no other labels" in found.reasons[0]


def test_it_waits_for_requests_and_for_time() -> None:
    few = judged(traffic(1, count=500))
    assert few.verdict is Verdict.WAIT
    assert "of 400 requests" in few.reasons[0]
    young = judged(traffic(1), age=10.0)
    assert (young.verdict, "10 of 60 seconds" in young.reasons[0]) == (Verdict.WAIT, True)
    assert judged([], age=1000.0).verdict is Verdict.WAIT


def test_where_requests_are_recorded_it_waits_for_predictions_too() -> None:
    limits = replace(LIMITS, min_predictions=200)
    few = judge(traffic(1), predicted(1, SHARES, count=300), limits, 100.0)
    assert few.verdict is Verdict.WAIT
    assert "of 200 recorded predictions" in few.reasons[0]
    assert judge(traffic(1), predicted(1, SHARES), limits, 100.0).verdict is Verdict.PROMOTE


@pytest.mark.parametrize("seed", range(5))
def test_two_percent_errors_are_found(seed: int) -> None:
    found = judged(traffic(seed, errors=(0.0, 0.02)))
    assert found.verdict is Verdict.ABORT
    assert found.reasons[0].startswith("more errors: ")


@pytest.mark.parametrize("seed", range(5))
def test_thirty_milliseconds_are_found(seed: int) -> None:
    found = judged(traffic(seed, slower_ms=30))
    assert found.verdict is Verdict.ABORT
    assert found.reasons[0].startswith("slower: ")


def slowed(accesses: list[Access], begin: int, end: int, variant: str = "") -> list[Access]:
    """Has a stretch of the requests, of one variant or both, take 20 ms more."""
    return [
        replace(each, server_seconds=(each.server_seconds or 0) + 0.02)
        if begin <= place < end and variant in each.variant
        else each
        for place, each in enumerate(accesses)
    ]


def test_a_version_that_is_slow_for_a_while_is_not_slower() -> None:
    accesses = slowed(traffic(1), 0, 900, "canary")
    assert judged(accesses, predicted(1, SHARES)).verdict is Verdict.PROMOTE


def test_a_machine_that_is_busy_since_the_trial_began_makes_no_version_slower() -> None:
    accesses = [replace(each, variant="stable") for each in traffic(1)[:2000]]
    accesses += [replace(each, time=each.time + 2000) for each in slowed(traffic(2), 0, 4000)]
    assert judged(accesses, predicted(1, SHARES)).verdict is Verdict.PROMOTE


@pytest.mark.parametrize("seed", range(5))
def test_two_swapped_classes_are_found_where_one_is_more_frequent(seed: int) -> None:
    found = judged(traffic(seed), predicted(seed, SHARES[[1, 0, 2, 3]]))
    assert found.verdict is Verdict.ABORT
    assert found.reasons[0].startswith("other labels: b")


def test_a_bad_version_is_taken_back_early() -> None:
    found = judged(traffic(3, count=800, errors=(0.0, 0.2)), age=5.0)
    assert found.verdict is Verdict.ABORT


def looks(seed: int) -> Iterator[Verdict]:
    accesses, answers = traffic(seed, errors=(0.02, 0.02)), predicted(seed, SHARES)
    for end in range(400, 4001, 400):
        yield judge(accesses[:end], answers[:end], LIMITS, 0.0).verdict


def test_looking_again_and_again_does_not_make_an_alarm_of_chance() -> None:
    alarms = sum(Verdict.ABORT in set(looks(seed)) for seed in range(10))
    assert alarms == 0


def test_few_labels_and_rare_ones_are_no_evidence() -> None:
    answers = predicted(5, SHARES, count=300)
    answers += [PredictedLabel(301 + n, "canary", 1, f"rare-{n}") for n in range(4)]
    assert judged(traffic(5), answers).verdict is Verdict.PROMOTE


def test_a_stable_version_that_fails_makes_no_canary_bad() -> None:
    assert judged(traffic(7, errors=(0.3, 0.001))).verdict is Verdict.PROMOTE


def test_the_figures_of_both_are_told() -> None:
    stable, canary = judged(traffic(1), predicted(1, SHARES)).variants
    assert (stable.variant, canary.variant) == ("stable", "canary")
    assert stable.requests + canary.requests == 4000
    assert stable.p50_ms is not None
    assert stable.p99_ms is not None
    assert 2 < stable.p50_ms < stable.p99_ms
    assert sum(canary.labels.values()) > 600
