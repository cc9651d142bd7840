"""Cron expressions mean what crontab(5) says, whatever APScheduler makes of the same text."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from orchestration.schedule.cron import Cron
from pipeline.settings.errors import UsageError

# A Thursday.
NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def next_times(
    expression: str, count: int = 1, time_zone: str = "UTC", now: datetime = NOW
) -> list[str]:
    cron = Cron(expression, time_zone)
    times = []
    for _ in range(count):
        now = cron.next_after(now)
        times.append(f"{now.astimezone(UTC):%a %d %H:%M}")
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
        ("0 3 * * 8", "'8' is not a weekday"),
        ("0 3 * * 5-2", "not a range"),
        ("0 3 31 2 *", "no such day"),
    ],
)
def test_a_wrong_expression_is_named_with_what_is_wrong(expression: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Cron(expression, "UTC")


def test_a_wrong_time_zone_is_named() -> None:
    with pytest.raises(UsageError, match="Mars/Olympus"):
        Cron("0 3 * * *", "Mars/Olympus")


# In Berlin, clocks go from 2:00 to 3:00 on 29 March, and from 3:00 back to 2:00 on 25 October.
SPRING = datetime(2026, 3, 28, 22, 30, tzinfo=UTC)
AUTUMN = datetime(2026, 10, 24, 21, 30, tzinfo=UTC)


def berlin(expression: str, count: int, now: datetime) -> list[str]:
    return next_times(expression, count, "Europe/Berlin", now)


def test_the_hour_that_comes_twice_in_autumn_counts_once() -> None:
    assert berlin("30 2 * * *", 2, AUTUMN) == ["Sun 25 00:30", "Mon 26 01:30"]


def test_a_schedule_that_starts_in_the_second_of_the_two_hours_waits_for_the_next_night() -> None:
    second = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
    assert berlin("30 2 * * *", 1, second) == ["Mon 26 01:30"]


def test_the_hour_that_is_skipped_in_spring_counts_once_and_an_hour_later() -> None:
    assert berlin("30 2 * * *", 2, SPRING) == ["Sun 29 01:30", "Mon 30 00:30"]


def test_a_skipped_time_and_the_one_that_it_becomes_count_once() -> None:
    assert berlin("30 2,3 * * *", 2, SPRING) == ["Sun 29 01:30", "Mon 30 00:30"]


@pytest.mark.parametrize("night", [SPRING, AUTUMN])
@pytest.mark.parametrize("hours", ["*", "*/1"])
def test_every_hour_is_every_hour_that_passes_in_any_night(night: datetime, hours: str) -> None:
    times = berlin(f"0 {hours} * * *", 6, night)
    assert [time[-5:] for time in times] == (
        ["23:00", "00:00", "01:00", "02:00", "03:00", "04:00"]
        if night is SPRING
        else ["22:00", "23:00", "00:00", "01:00", "02:00", "03:00"]
    )


def test_half_an_hour_that_comes_twice_counts_once() -> None:
    # Lord Howe Island: from 2:00 back to 1:30 on 5 April.
    before = datetime(2026, 4, 4, 12, 0, tzinfo=UTC)
    times = next_times("45 1 * * *", 2, "Australia/Lord_Howe", before)
    assert times == ["Sat 04 14:45", "Sun 05 15:15"]


# Where clocks change at night, at midnight, by half an hour, by two, in the south, for a month of
# fasting, and never.
ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",
    "Africa/Cairo",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "America/Santiago",
    "Africa/Casablanca",
    "Pacific/Chatham",
    "America/Nuuk",
    "Asia/Kathmandu",
]
BEGIN, END = datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2027, 1, 1, 12, tzinfo=UTC)


def times_of_a_year(expression: str, time_zone: str) -> list[datetime]:
    cron = Cron(expression, time_zone)
    times = [cron.next_after(BEGIN)]
    while times[-1] < END:
        times.append(cron.next_after(times[-1]))
    return times[:-1]


def at(hour: int, minute: int, time_zone: str, days: Callable[[date], bool]) -> list[datetime]:
    """When clocks show a time on certain days of the year, for the first time if they do twice."""
    dates = (date(2025, 12, 31) + timedelta(day) for day in range(368))
    times = {
        datetime.combine(day, time(hour, minute), ZoneInfo(time_zone)).astimezone(UTC)
        for day in dates
        if days(day)
    }
    return sorted(each for each in times if BEGIN < each < END)


@pytest.mark.parametrize("time_zone", ZONES)
@pytest.mark.parametrize(
    ("hour", "minute"), [(0, 0), (0, 30), (1, 45), (2, 0), (2, 30), (3, 0), (23, 30)]
)
def test_a_nightly_time_comes_once_for_each_date(time_zone: str, hour: int, minute: int) -> None:
    expected = at(hour, minute, time_zone, lambda day: True)
    assert times_of_a_year(f"{minute} {hour} * * *", time_zone) == expected


@pytest.mark.parametrize("time_zone", ZONES)
@pytest.mark.parametrize("weekday", range(7))
def test_a_weekly_time_comes_once_for_each_week(time_zone: str, weekday: int) -> None:
    expected = at(0, 0, time_zone, lambda day: day.isoweekday() % 7 == weekday)
    assert times_of_a_year(f"0 0 * * {weekday}", time_zone) == expected


@pytest.mark.parametrize("time_zone", ZONES)
@pytest.mark.parametrize("month_day", [1, 25, 29])
def test_a_monthly_time_comes_once_for_each_month(time_zone: str, month_day: int) -> None:
    expected = at(0, 0, time_zone, lambda day: day.day == month_day)
    assert times_of_a_year(f"0 0 {month_day} * *", time_zone) == expected


@pytest.mark.parametrize("time_zone", ZONES)
def test_every_quarter_of_an_hour_is_every_one_that_passes_when_clocks_change(
    time_zone: str,
) -> None:
    cron, zone = Cron("*/15 * * * *", time_zone), ZoneInfo(time_zone)
    for moment in (BEGIN + timedelta(days) for days in range(365)):
        end = moment + timedelta(1)
        if moment.astimezone(zone).utcoffset() != end.astimezone(zone).utcoffset():
            while moment < end:
                assert cron.next_after(moment) == moment + timedelta(minutes=15)
                moment += timedelta(minutes=15)


def test_every_hour_of_a_weekday_begins_at_midnight_in_the_week_of_the_change() -> None:
    assert berlin("0 * * * mon", 2, SPRING) == ["Sun 29 22:00", "Sun 29 23:00"]


def test_a_schedule_that_starts_in_the_hour_after_the_skipped_one_makes_up_for_it() -> None:
    assert berlin("30 2 * * *", 1, datetime(2026, 3, 29, 1, 10, tzinfo=UTC)) == ["Sun 29 01:30"]


def test_a_skipped_time_does_not_hide_an_earlier_one() -> None:
    # Lord Howe Island: from 2:00 to 2:30 on 4 October, which makes 2:25 to 2:55.
    before = datetime(2026, 10, 3, 15, 0, tzinfo=UTC)
    times = next_times("25,35 2 * * *", 2, "Australia/Lord_Howe", before)
    assert times == ["Sat 03 15:35", "Sat 03 15:55"]
