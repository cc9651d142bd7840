"""When runs start by themselves; the `schedule` section of the settings."""

from datetime import date
from pathlib import Path

from pydantic import Field

from pipeline.settings.base import Settings


class ScheduleSettings(Settings):
    """When runs start by themselves, and what happens when one fails."""

    cron: str = Field("0 3 * * *", description="five fields, as in crontab(5)")
    time_zone: str = Field("UTC", description="of `cron`, as in the IANA database")
    poll_seconds: float = Field(10.0, gt=0, description="between two looks for new spans")
    max_run_seconds: float = Field(
        12 * 3600.0, gt=0, description="a run that takes longer is stopped and counts as failed"
    )
    retries: int = Field(3, ge=0, description="further attempts at a run that failed")
    retry_delay_seconds: float = Field(
        60.0, ge=0, description="before the first of them; doubles from one to the next"
    )
    start: date | None = Field(
        None,
        description="under Airflow: the day of span 1, from which on runs are caught up and each "
        "reads no span after its own; None: no run is caught up and each reads the newest spans",
    )
    node_timeout_seconds: float = Field(3 * 3600.0, gt=0, description="under Airflow, of a node")
    webhook: str | None = Field(
        None, pattern="^https?://", description="gets the result of every run that did something"
    )
    webhook_template: Path | None = Field(
        None, description="a Jinja template of what the webhook gets, instead of the result's JSON"
    )
    expect_run_hours: float | None = Field(
        None, gt=0, description="the webhook is told when no run has ended for so long"
    )
    expect_data_hours: float | None = Field(
        None, gt=0, description="the webhook is told when no span has arrived for so long"
    )
