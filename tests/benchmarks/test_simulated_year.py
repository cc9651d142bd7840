"""The plan has what the year must show, and the expectations can be missed."""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.simulated_year.expectations import Situation, problems_of, problems_of_full_disk
from benchmarks.simulated_year.plan import UNSOUND, Accident, Delivery, year
from benchmarks.simulated_year.reports import Attempt
from benchmarks.simulated_year.supplier import Supplier
from data import idx, spans
from runs.exit_status import Status


def attempt(status: Status, *reasons: str) -> Attempt:
    return Attempt(status=status, exit_code=status.exit_code, reasons=list(reasons), seconds=1)


def situation(
    *accidents: Accident, unsound: dict[int, Accident] | None = None, taken_back: bool = False
) -> Situation:
    return Situation(frozenset(accidents), unsound or {}, has_news=True, taken_back=taken_back)


@pytest.mark.parametrize("days", [120, 365])
def test_every_accident_comes_several_times_and_most_days_bring_sound_spans(days: int) -> None:
    plan = year(days, seed=1)
    assert plan == year(days, seed=1)
    assert plan != year(days, seed=2)
    times = Counter(accident for day in plan for accident in day.accidents)
    assert all(times[accident] >= 2 for accident in Accident)
    sound = [d for day in plan for d in day.deliveries if d.kind is None]
    assert len(sound) > 0.6 * days
    assert all(20 <= delivery.images <= 400 for delivery in sound)
    bad = {d.kind for day in plan for d in day.deliveries if d.kind}
    assert bad == set(UNSOUND)
    assert not any(day.accidents for day in (*plan[:2], *plan[-3:]))


def test_a_typo_lasts_three_days() -> None:
    plan = year(120, seed=1)
    days = [day.number for day in plan if Accident.TYPO in day.accidents]
    assert {first + 1 for first in days[:1]} <= set(days)
    assert len(days) >= 3


def test_a_sound_day_must_push() -> None:
    expected = situation().expected()
    assert problems_of(attempt(Status.PUSHED), expected) == []
    assert problems_of(attempt(Status.UP_TO_DATE), expected)
    assert problems_of(attempt(Status.NOT_BLESSED, "accuracy"), expected)


def test_a_refusal_must_name_the_span_that_is_to_blame() -> None:
    expected = situation(unsound={7: Accident.SHUFFLED}).expected()
    named = "accuracy on the held-out part of span-7 is 0.1"
    assert problems_of(attempt(Status.NOT_BLESSED, named), expected) == []
    assert problems_of(attempt(Status.NOT_BLESSED, named.replace("7", "70")), expected)


def test_what_comes_first_in_the_pipeline_decides() -> None:
    both = situation(Accident.TYPO, unsound={3: Accident.CORRUPT}).expected()
    assert problems_of(attempt(Status.DATA_REFUSED, "data/spans/3/images: truncated"), both) == []
    assert problems_of(attempt(Status.NOT_BLESSED, "required is at least 0.9980"), both)


def test_a_silent_server_leaves_the_version_there() -> None:
    expected = situation(Accident.SERVER_DOWN).expected()
    said = "http://127.0.0.1:1 could not be asked whether it serves version 5"
    assert problems_of(attempt(Status.PUSHED_UNCONFIRMED, said), expected) == []
    assert problems_of(attempt(Status.ROLLED_BACK, said), expected)


def test_a_full_disk_must_be_named() -> None:
    assert problems_of_full_disk(attempt(Status.FAILED, "No space left on device: x")) == []
    assert problems_of_full_disk(attempt(Status.FAILED, "RuntimeError: something"))
    nothing = Attempt(status=None, exit_code=1, seconds=1)
    assert problems_of_full_disk(nothing)


def test_a_delivery_arrives_in_the_state_that_was_asked_for(tmp_path: Path) -> None:
    supplier = Supplier(tmp_path / "data", seed=1, official=False)
    folder = tmp_path / "data" / "spans"
    supplier.bring(Delivery(30))
    supplier.bring(Delivery(30, Accident.INVERTED))
    supplier.bring(Delivery(30, Accident.CORRUPT))
    supplier.bring(Delivery(30), half_copied=True)
    bright, dark = (idx.read_images(folder / str(n) / spans.IMAGES_FILE).mean() for n in (2, 1))
    assert bright > 128 > dark
    with pytest.raises(idx.IdxError):
        idx.read_images(folder / "3" / spans.IMAGES_FILE)
    assert spans.list_incomplete(folder) == [4]
    supplier.complete()
    assert spans.list_spans(folder) == [1, 2, 3, 4]
