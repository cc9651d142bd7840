"""What the week brings, day by day, how each day must end, and how it is reported."""

from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, Field

from runs.status import Status


class Delivery(StrEnum):
    """In which state the images of a span arrive."""

    SOUND = "sound"
    CORRUPT = "truncated"
    SHUFFLED = "labels shuffled"


@dataclass(frozen=True)
class Day:
    """One day, and how it must end.

    Attributes:
        name: of the weekday.
        deliveries: what arrives before the run, a span each.
        window: the spans that are to be read.
        status: the verdict.
    """

    name: str
    deliveries: tuple[Delivery, ...]
    window: tuple[int, ...]
    status: Status


WINDOW = 3

WEEK = (
    Day("Monday", (Delivery.SOUND,), (1,), Status.PUSHED),
    Day("Tuesday", (Delivery.SOUND,), (1, 2), Status.PUSHED),
    Day("Wednesday", (Delivery.CORRUPT,), (1, 2, 3), Status.DATA_REFUSED),
    Day("Thursday", (Delivery.SOUND,), (1, 2, 4), Status.PUSHED),
    Day("Friday", (), (1, 2, 4), Status.UP_TO_DATE),
    Day("Saturday", (Delivery.SHUFFLED,), (2, 4, 5), Status.NOT_BLESSED),
    # What was missing on Friday comes late.
    Day("Sunday", (Delivery.SOUND, Delivery.SOUND), (4, 6, 7), Status.PUSHED),
)


class DayReport(BaseModel):
    """What became of a day.

    Attributes:
        day: its name.
        arrived: what did, a few words a span.
        window: the spans that were there to be read.
        status: the run's verdict.
        exit_code: of the command.
        trained: whether a model was.
        baseline_version: the served version that it was compared with.
        version: pushed, or found up to date.
        accuracy: overall, of the day's model.
        reasons: why it was not pushed.
        quarantined: all spans that are left out from now on.
        seconds: how long the run took.
        problems: what is not as planned.
    """

    day: str
    arrived: list[str]
    window: list[int]
    status: Status
    exit_code: int
    trained: bool
    baseline_version: int | None
    version: int | None
    accuracy: float | None
    reasons: list[str]
    quarantined: list[int]
    seconds: float
    problems: list[str] = Field(default_factory=list)


class WeekReport(BaseModel):
    """The whole week.

    Attributes:
        days: the days.
        answered: requests to the live server that were answered, by protocol.
        failed: requests that were not.
        problems: of all days, the server and its clients.
    """

    days: list[DayReport]
    answered: dict[str, int]
    failed: int
    problems: list[str]
