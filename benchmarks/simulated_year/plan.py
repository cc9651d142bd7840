"""What the days bring, by a seed."""

from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np


class Accident(StrEnum):
    """What goes wrong on a day, or is not as on other days."""

    EMPTY = "no new data"
    CORRUPT = "corrupt file"
    HALF_COPIED = "half-copied folder"
    SHUFFLED = "shuffled labels"
    INVERTED = "drifted camera"
    TYPO = "typo in a threshold"
    SCHEMA = "schema mistake"
    DIVERGES = "trainer diverges"
    SERVER_DOWN = "server down during the live check"
    DISK_FULL = "full disk"
    KILLED = "SIGKILL"
    CLOCK = "clock a year ahead"
    NO_METADATA = "metadata deleted"
    UPGRADE = "code upgraded"
    RENAMED = "class renamed"
    ROLLBACK = "rollback by a person"


UNSOUND = (Accident.CORRUPT, Accident.SHUFFLED, Accident.INVERTED)
_LASTS = {Accident.TYPO: (3, 3), Accident.SCHEMA: (1, 2), Accident.RENAMED: (2, 5)}
# With fewer images, a fifth of them is too few to tell shuffled labels from bad luck.
_SMALLEST_SHUFFLED = 150
_SPAN_SIZES = (20, 400)
# Days at the beginning, which build what the rest stands on, and at the end, which settle it.
_QUIET_AT_FIRST, _QUIET_AT_LAST = 2, 3
_SHARE_OF_DAYS = 60
_LEAST_OCCURRENCES = 3


@dataclass(frozen=True)
class Delivery:
    """A span that arrives: `kind` says in which state, None: sound."""

    images: int
    kind: Accident | None = None


@dataclass(frozen=True)
class Day:
    """One day.

    Attributes:
        number: from 1.
        deliveries: what arrives before the run, a span each.
        accidents: what else is not as on other days.
        variant: from 0 to 1, chooses between the forms that an accident has.
    """

    number: int
    deliveries: tuple[Delivery, ...]
    accidents: frozenset[Accident] = field(default_factory=frozenset)
    variant: float = 0.0


def year(days: int, seed: int) -> list[Day]:
    """Draws the plan: every accident at least three times, as far as there are days for them.

    Args:
        days: how many, at least 8.
        seed: another one, another year.
    """
    random = np.random.default_rng(seed)
    plan = [_ordinary(number, random) for number in range(1, days + 1)]
    times = max(_LEAST_OCCURRENCES, days // _SHARE_OF_DAYS)
    for accident in Accident:
        shortest, longest = _LASTS.get(accident, (1, 1))
        for _ in range(times):
            lasts = int(random.integers(shortest, longest + 1))
            first = int(random.integers(_QUIET_AT_FIRST, days - _QUIET_AT_LAST - lasts + 1))
            variant = float(random.random())
            for position in range(first, first + lasts):
                plan[position] = _with(plan[position], accident, variant, random)
    return plan


def ten_days() -> list[Day]:
    """Each accident once, several of them on one day."""
    bad = Delivery(200, Accident.SHUFFLED), Delivery(80, Accident.CORRUPT)
    brought: list[tuple[tuple[Delivery, ...], set[Accident]]] = [
        ((Delivery(150),), set()),
        ((Delivery(60),), {Accident.NO_METADATA, Accident.SERVER_DOWN}),
        ((bad[0], Delivery(40)), {Accident.SHUFFLED, Accident.CLOCK}),
        ((bad[1], Delivery(20)), {Accident.CORRUPT, Accident.HALF_COPIED}),
        ((Delivery(60),), {Accident.TYPO}),
        ((Delivery(100, Accident.INVERTED), Delivery(80)), {Accident.INVERTED, Accident.SCHEMA}),
        ((Delivery(60),), {Accident.RENAMED, Accident.UPGRADE}),
        ((Delivery(60),), {Accident.DISK_FULL, Accident.KILLED}),
        ((Delivery(60),), {Accident.DIVERGES, Accident.ROLLBACK}),
        ((), {Accident.EMPTY}),
    ]
    return [
        Day(number, deliveries, frozenset(accidents), variant=0.3)
        for number, (deliveries, accidents) in enumerate(brought, start=1)
    ]


def _ordinary(number: int, random: np.random.Generator) -> Day:
    return Day(number, (Delivery(_size(random)),), variant=float(random.random()))


def _size(random: np.random.Generator, smallest: int = _SPAN_SIZES[0]) -> int:
    """Small spans are as frequent as large ones, by the factor between them."""
    return round(np.exp(random.uniform(np.log(smallest), np.log(_SPAN_SIZES[1]))))


def _with(day: Day, accident: Accident, variant: float, random: np.random.Generator) -> Day:
    unsound = [delivery for delivery in day.deliveries if delivery.kind]
    sound = [delivery for delivery in day.deliveries if not delivery.kind]
    if accident is Accident.EMPTY and not unsound:
        sound = []
    elif accident is Accident.HALF_COPIED and not sound:
        sound = [Delivery(_size(random))]
    elif accident in UNSOUND:
        smallest = _SMALLEST_SHUFFLED if accident is Accident.SHUFFLED else _SPAN_SIZES[0]
        unsound.append(Delivery(_size(random, smallest), accident))
        # Alone, or together with what arrives anyway.
        sound = sound if variant < 0.5 else []
    accidents = (day.accidents | {accident}) - ({Accident.EMPTY} if sound or unsound else set())
    return replace(day, deliveries=(*sound, *unsound), accidents=accidents, variant=variant)
