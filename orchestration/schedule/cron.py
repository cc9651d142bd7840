"""Cron expressions, read as crontab(5) defines them."""

from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

from pipeline.settings.errors import UsageError

_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def cron_trigger(expression: str, time_zone: str) -> BaseTrigger:
    """Returns what tells APScheduler when to start.

    APScheduler reads weekdays as numbers from Monday on, and takes a day of the month and a weekday
    together; crontab(5) counts from Sunday and takes either.

    Args:
        expression: minute, hour, day of the month, month and weekday.
        time_zone: by its name in the IANA database.

    Raises:
        UsageError: when the expression or the time zone is not valid.
    """
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"schedule.time_zone = {time_zone!r}: there is no such zone") from None
    try:
        fields = expression.split()
        if len(fields) != 5:
            raise ValueError(f"it has {len(fields)} fields, not five")
        minute, hour, day, month, weekday = fields
        weekdays = weekday_names(weekday)
        if day.startswith("*") or weekday.startswith("*"):
            trigger = _trigger(minute, hour, day, month, weekdays, zone)
        else:
            trigger = OrTrigger(
                [
                    _trigger(minute, hour, day, month, "*", zone),
                    _trigger(minute, hour, "*", month, weekdays, zone),
                ]
            )
        if trigger.get_next_fire_time(None, datetime.now(zone)) is None:
            raise ValueError("there is no such day")
        return trigger
    except ValueError as error:
        raise UsageError(f"the cron expression {expression!r} is not valid: {error}") from None


def _trigger(
    minute: str, hour: str, day: str, month: str, weekdays: str, zone: tzinfo
) -> CronTrigger:
    return CronTrigger(
        minute=minute, hour=hour, day=day, month=month, day_of_week=weekdays, timezone=zone
    )


def weekday_names(field: str) -> str:
    """Writes the weekdays of a cron expression out as names, which mean the same everywhere.

    Raises:
        ValueError: when the field is not valid.
    """
    if field == "*":
        return field
    days: list[str] = []
    for part in field.lower().split(","):
        span, _, step = part.partition("/")
        first, separator, last = ("0", "-", "6") if span == "*" else span.partition("-")
        start = _weekday_number(first)
        end = _weekday_number(last) if separator else start
        if end < start:
            raise ValueError(f"{part!r} is no range of weekdays")
        days.extend(_WEEKDAYS[day % 7] for day in range(start, end + 1, int(step or 1)))
    return ",".join(dict.fromkeys(days))


def _weekday_number(text: str) -> int:
    if text in _WEEKDAYS:
        return _WEEKDAYS.index(text)
    if text.isdigit() and int(text) <= 7:
        return int(text)
    raise ValueError(f"{text!r} is no weekday")
