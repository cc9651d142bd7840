"""Cron expressions mean what crontab(5) says, whatever APScheduler makes of the same text."""

from datetime import UTC, datetime, timedelta

import pytest

from orchestration.schedule.cron import cron_trigger
from pipeline.settings.errors import UsageError

# A Thursday.
NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def next_times(expression: str, count: int = 1, time_zone: str = "UTC") -> list[str]:
    trigger = cron_trigger(expression, time_zone)
    times = []
    now = NOW
    for _ in range(count):
        time = trigger.get_next_fire_time(None, now)
        times.append(f"{time.astimezone(UTC):%a %d %H:%M}")
        now = time + timedelta(seconds=1)
    return times


def test_every_night_at_three() -> None:
    assert next_times("0 3 * * *", 2) == ["Fri 02 03:00", "Sat 03 03:00"]


def test_the_time_is_that_of_the_time_zone() -> None:
    assert next_times("0 3 * * *", time_zone="Asia/Tokyo") == ["Thu 01 18:00"]


@pytest.mark.parametrize("weekday", ["0", "7", "sun", "SUN"])
def test_sunday_is_zero_seven_and_its_name(weekday: str) -> None:
    assert next_times(f"0 3 * * {weekday}") == ["Sun 04 03:00"]


def test_weekdays_are_counted_from_sunday() -> None:
    assert next_times("0 3 * * 1-5", 3) == ["Fri 02 03:00", "Mon 05 03:00", "Tue 06 03:00"]
    assert next_times("0 3 * * 6,7", 2) == ["Sat 03 03:00", "Sun 04 03:00"]
    assert next_times("0 3 * * */3", 3) == ["Sat 03 03:00", "Sun 04 03:00", "Wed 07 03:00"]


def test_a_day_of_the_month_and_a_weekday_mean_either() -> None:
    assert next_times("0 3 5 * 6", 3) == ["Sat 03 03:00", "Mon 05 03:00", "Sat 10 03:00"]


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("0 3 * *", "4 fields"),
        ("61 3 * * *", "61"),
        ("0 3 * * 8", "'8' is no weekday"),
        ("0 3 * * 5-2", "no range"),
        ("0 3 31 2 *", "no such day"),
    ],
)
def test_a_wrong_expression_is_named_with_what_is_wrong(expression: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        cron_trigger(expression, "UTC")


def test_a_wrong_time_zone_is_named() -> None:
    with pytest.raises(UsageError, match="Mars/Olympus"):
        cron_trigger("0 3 * * *", "Mars/Olympus")
