"""What became of the days and of the year, as it is written to the result."""

from pydantic import BaseModel, Field

from runs.exit_status import Status


class Attempt(BaseModel):
    """One run of a day.

    Attributes:
        status: of its result; None: it left none.
        exit_code: as subprocess gives it.
        version: pushed, or found up to date.
        accuracy: overall, of its model.
        reasons: why nothing was pushed.
        seconds: how long it took.
    """

    status: Status | None
    exit_code: int
    version: int | None = None
    accuracy: float | None = None
    reasons: list[str] = Field(default_factory=list)
    seconds: float


class DayReport(BaseModel):
    """What became of a day.

    Attributes:
        day: its number.
        arrived: what did, a few words a span.
        accidents: what was not as on other days.
        attempts: the runs; the last one is the day's verdict.
        quarantined: spans that are left out from this day on.
        by_hand: those of them that a person had to name.
        workdir_megabytes: of all files in the workdir, in the evening.
        examples_megabytes: those of them that are copies of the data, which grows.
        metadata_megabytes: those of them that are the metadata.
        problems: what is not as it must be.
    """

    day: int
    arrived: list[str] = Field(default_factory=list)
    accidents: list[str]
    attempts: list[Attempt] = Field(default_factory=list)
    quarantined: list[int] = Field(default_factory=list)
    by_hand: list[int] = Field(default_factory=list)
    workdir_megabytes: float = 0.0
    examples_megabytes: float = 0.0
    metadata_megabytes: float = 0.0
    problems: list[str] = Field(default_factory=list)

    @property
    def own_megabytes(self) -> float:
        """What the workdir holds besides copies of the data."""
        return self.workdir_megabytes - self.examples_megabytes


class YearReport(BaseModel):
    """The whole year.

    Attributes:
        images: where they come from.
        disk: how it was made full.
        hours: how long it took.
        spans: how many arrived.
        quarantined: how many are left out at the end.
        versions: how many were pushed.
        rolled_back: how many a person took back.
        answered: requests to the live server that were answered, by protocol.
        failed: requests that were not, or with something else than a model's answer.
        problems: of all days, of the end, of the server and of its clients.
        days: the days.
    """

    images: str
    disk: str
    hours: float
    spans: int
    quarantined: int
    versions: int
    rolled_back: int
    answered: dict[str, int]
    failed: int
    problems: list[str]
    days: list[DayReport]
