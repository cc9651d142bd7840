"""What a schedule remembers, so that a restart neither loses nor doubles a run."""

from datetime import datetime
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ValidationError

from files.whole import write_whole
from pipeline.settings.errors import UsageError


class DueRun(BaseModel):
    """A run that was asked for and is not over.

    Attributes:
        name: tells it from every other run of this schedule.
        reason: what asked for it.
        attempt: counts from 1.
        not_before: when the attempt may begin.
        process: of the attempt that is running, if one was started.
    """

    name: str
    reason: str
    attempt: int = 1
    not_before: datetime
    process: int | None = None


class ScheduleState(BaseModel):
    """The state file of a schedule.

    Attributes:
        cron_until: times of the cron expression up to this one have led to a run.
        spans: those that have led to a run, and are still there.
        due: the run that is waiting or running; a second one is never needed, because it starts
            after everything that asked for it.
        last_run: name of the last result.
        last_status: its status.
    """

    cron_until: datetime | None = None
    spans: list[int] = []
    due: DueRun | None = None
    last_run: str | None = None
    last_status: str | None = None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads the file; an absent one is the state of a schedule that was never started.

        Raises:
            UsageError: when there is something else in it.
        """
        try:
            return cls.model_validate_json(path.read_text())
        except FileNotFoundError:
            return cls()
        except (ValidationError, UnicodeDecodeError):
            raise UsageError(
                f"{path} is not the state of a schedule; remove it to start afresh"
            ) from None

    def write(self, path: Path) -> None:
        """Replaces the file durably; whoever reads it sees the old state or the new one."""
        write_whole(path, self.model_dump_json(indent=2) + "\n")
