"""Cron expressions, read as crontab(5) defines them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

from pipeline.settings.errors import UsageError

_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

# By which clocks are put at once: an hour as a rule, two on some stations in Antarctica.
_LONGEST_CHANGE = timedelta(hours=3)


class Cron:
    """The times that a cron expression stands for."""

    def __init__(self, expression: str, time_zone: str) -> None:
        """Reads the expression.

        Args:
            expression: minute, hour, day of the month, month and weekday.
            time_zone: by its name in the IANA database.

        Raises:
            UsageError: when the expression or the time zone is not valid.
        """
        try:
            self._zone = ZoneInfo(time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise UsageError(f"schedule.time_zone = {time_zone!r}: there is no such zone") from None
        try:
            fields = expression.split()
            if len(fields) != 5:
                raise ValueError(f"it has {len(fields)} fields, not five")
            minute, hour, day, month, weekday = fields
            self._trigger = _trigger(minute, hour, day, month, weekday)
            self._counts_hours = hour.startswith("*")
            self.next_after(datetime.now(UTC))
        except ValueError as error:
            message = f"the cron expression {expression!r} is not valid: {error}"
            raise UsageError(message) from None

    def next_after(self, moment: datetime) -> datetime:
        """Returns the first time after a moment, UTC.

        An hour that clocks show twice, when summer time ends, counts once, unless the expression's
        hours are `*`; a time that they skip, when summer time begins, is as much later.

        Raises:
            ValueError: when there is none.
        """
        # Clocks go back and ahead: the first time that they show need not be the first to come.
        wall = self._shown(moment) - _LONGEST_CHANGE
        found: list[datetime] = []
        while not found or wall < self._shown(min(found)) + _LONGEST_CHANGE:
            wall = self._next_shown(wall)
            found.extend(time for time in self._moments(wall) if time > moment)
        return min(found)

    def _shown(self, moment: datetime) -> datetime:
        """Returns what clocks show at a moment, as if it were UTC."""
        return moment.astimezone(self._zone).replace(tzinfo=UTC, fold=0)

    def _next_shown(self, wall: datetime) -> datetime:
        """Returns the first time of the expression after another, both as clocks show them.

        APScheduler is told that they are UTC: in a zone whose clocks change it adds differences of
        wall times to UTC, and leaves out a whole day, and with it a week or a month.
        """
        following = self._trigger.get_next_fire_time(None, wall + timedelta(microseconds=1))
        if following is None:
            raise ValueError("there is no such day")
        return following

    def _moments(self, wall: datetime) -> set[datetime]:
        """Returns when clocks show a time, if it counts then."""
        first, second = (
            wall.replace(tzinfo=self._zone, fold=fold).astimezone(UTC) for fold in (0, 1)
        )
        # Where clocks skip the time, the second is the earlier one, and stands for nothing.
        return {first, max(first, second)} if self._counts_hours else {first}


def _trigger(minute: str, hour: str, day: str, month: str, weekday: str) -> BaseTrigger:
    """Returns APScheduler's trigger for a cron expression, whose times are in UTC.

    APScheduler reads weekdays as numbers from Monday on, and takes a day of the month and a weekday
    together; crontab(5) counts from Sunday and takes either.
    """

    def fires_on(day: str, weekday: str) -> CronTrigger:
        return CronTrigger(
            minute=minute, hour=hour, day=day, month=month, day_of_week=weekday, timezone=UTC
        )

    weekdays = weekday_names(weekday)
    if day.startswith("*") or weekday.startswith("*"):
        return fires_on(day, weekdays)
    return OrTrigger([fires_on(day, "*"), fires_on("*", weekdays)])


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
            raise ValueError(f"{part!r} is not a range of weekdays")
        days.extend(_WEEKDAYS[day % 7] for day in range(start, end + 1, int(step or 1)))
    return ",".join(dict.fromkeys(days))


def _weekday_number(text: str) -> int:
    if text in _WEEKDAYS:
        return _WEEKDAYS.index(text)
    if text.isdigit() and int(text) <= 7:
        return int(text)
    raise ValueError(f"{text!r} is not a weekday")
