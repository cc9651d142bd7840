"""What a schedule remembers, so that a restart neither loses nor doubles a run."""

import logging
from pathlib import Path
from typing import Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from files.kept import set_aside
from files.whole import write_whole

logger = logging.getLogger(__name__)


class DueRun(BaseModel):
    """A run that was asked for and is not over.

    Attributes:
        name: tells it from every other run of this schedule.
        reason: what asked for it.
        attempt: counts from 1.
        not_before: when the attempt may begin.
        started: when the attempt that is running began, by the monotonic clock, which all processes
            of one boot share; no attempt outlives a boot.
    """

    model_config = ConfigDict(frozen=True)

    name: str = Field(pattern=r"^[\w-]+$")
    reason: str
    attempt: int = Field(1, ge=1)
    not_before: AwareDatetime
    started: float | None = None


class ScheduleState(BaseModel):
    """The state file of a schedule.

    Attributes:
        cron_until: times of the cron expression up to this one have led to a run.
        spans: those that have led to a run, and are still there.
        due: the run that is waiting or running; a second one is never needed, because it starts
            after everything that asked for it.
        last_run: name of the last result.
        last_status: its status.
        last_run_at: when that was, or when the schedule was started for the first time.
        last_data_at: when a span was seen for the first time, or the schedule started.
        silences: how often each silence that lasts has been reported, by its status.
    """

    model_config = ConfigDict(frozen=True)

    cron_until: AwareDatetime | None = None
    spans: tuple[int, ...] = ()
    due: DueRun | None = None
    last_run: str | None = None
    last_status: str | None = None
    last_run_at: AwareDatetime | None = None
    last_data_at: AwareDatetime | None = None
    silences: dict[str, int] = {}

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads the file; an absent one is the state of a schedule that was never started.

        One that cannot be read costs what it said: cron counts from now on, and every span is new,
        which leads to a run that finds nothing to do. It is kept as `<name>.unreadable`.

        Raises:
            OSError: when it can neither be read nor moved out of the way.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return cls()
        except (OSError, ValidationError) as error:
            aside = set_aside(path)
            logger.error(
                "%s is not the state of a schedule (%s); starting afresh, it is kept as %s",
                path,
                type(error).__name__,
                aside.name,
            )
            return cls()

    def write(self, path: Path) -> None:
        """Replaces the file durably; whoever reads it sees the old state or the new one."""
        write_whole(path, self.model_dump_json(indent=2) + "\n")
