"""How a day must end, given what is wrong on it; and what its reasons must name."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from benchmarks.simulated_year.day_settings import TYPO
from benchmarks.simulated_year.plan import Accident
from benchmarks.simulated_year.reports import Attempt
from runs.exit_status import Status

# The last is what SQLite says of RLIMIT_FSIZE.
FULL = ("No space left", "File too large", "is full", "disk I/O error")


@dataclass(frozen=True)
class Expected:
    """The statuses that are right, and words of which a reason must have one; none: no reason."""

    statuses: tuple[Status, ...]
    cause: tuple[str, ...] = ()


@dataclass(frozen=True)
class Situation:
    """What decides how a run must end.

    Attributes:
        accidents: of the day.
        unsound: spans that are not quarantined and should be, with what is wrong with them.
        has_news: whether there is a sound span that the served version was not trained on.
        taken_back: whether a person has just taken the newest version back.
    """

    accidents: frozenset[Accident]
    unsound: Mapping[int, Accident]
    has_news: bool
    taken_back: bool

    def expected(self) -> Expected:
        """What comes first in the pipeline decides."""
        refused_by_files = _of_kind(self.unsound, Accident.CORRUPT)
        if refused_by_files:
            return Expected((Status.DATA_REFUSED,), _folders(refused_by_files))
        if Accident.SCHEMA in self.accidents:
            return Expected((Status.DATA_REFUSED,), ("feature label", "feature mean_pixel"))
        if _of_kind(self.unsound, Accident.INVERTED):
            return Expected((Status.DATA_REFUSED,), ("feature mean_pixel",))
        if Accident.DIVERGES in self.accidents:
            return Expected((Status.NOT_BLESSED, Status.FAILED), ("accuracy", "diverged"))
        if Accident.TYPO in self.accidents:
            return Expected((Status.NOT_BLESSED,), (f"required is at least {TYPO:.4f}",))
        if shuffled := _of_kind(self.unsound, Accident.SHUFFLED):
            return Expected((Status.NOT_BLESSED,), tuple(f"span-{span} " for span in shuffled))
        return self._passing()

    def _passing(self) -> Expected:
        pushed = (
            Status.PUSHED_UNCONFIRMED if Accident.SERVER_DOWN in self.accidents else Status.PUSHED
        )
        # Only where the server is down, or the version was taken back, is there a reason.
        cause = ("did not answer", "could not be asked", "rolled back")
        if self.taken_back:
            return Expected((pushed, Status.ROLLED_BACK, Status.UP_TO_DATE), cause)
        if self.has_news:
            return Expected((pushed,), cause)
        return Expected((pushed, Status.UP_TO_DATE), cause)


def problems_of(attempt: Attempt, expected: Expected) -> list[str]:
    """What is not as it must be with the verdict of a day."""
    if attempt.status not in expected.statuses:
        return [
            f"ended as {attempt.status} ({'; '.join(attempt.reasons)}), "
            f"right is {' or '.join(expected.statuses)}"
        ]
    needs_cause = attempt.status not in (Status.PUSHED, Status.UP_TO_DATE)
    if needs_cause and not _names(attempt.reasons, expected.cause):
        return [f"{attempt.status} without its cause: {'; '.join(attempt.reasons)}"]
    if attempt.exit_code != attempt.status.exit_code:
        return [f"{attempt.status} with exit code {attempt.exit_code}"]
    return []


def problems_of_full_disk(attempt: Attempt) -> list[str]:
    """A run may find room enough; if it does not, it says so."""
    if attempt.status is None:
        return ["a run on a full disk printed no result"]
    if attempt.status is Status.FAILED and not _names(attempt.reasons, FULL):
        return [f"a run on a full disk says: {'; '.join(attempt.reasons)}"]
    return []


def evidence(span: int, kind: Accident) -> tuple[str, ...]:
    """Words of which the reason for a span's quarantine must have one."""
    if kind is Accident.CORRUPT:
        return _folders([span])
    if kind is Accident.INVERTED:
        return (f"split span-{span}, feature mean_pixel",)
    return (f"span-{span} ",)


def _names(reasons: Collection[str], cause: Collection[str]) -> bool:
    return any(word in reason for reason in reasons for word in cause)


def _of_kind(unsound: Mapping[int, Accident], kind: Accident) -> list[int]:
    return [span for span, accident in unsound.items() if accident is kind]


def _folders(unsound: Collection[int]) -> tuple[str, ...]:
    return tuple(f"spans/{span}/" for span in unsound)
