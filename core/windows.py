"""The tenant's calendar: in which minute, hour, day, week or month a quota counts, and when the next one begins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from core.decisions import Period


@dataclass(frozen=True, slots=True)
class Window:
    """`day` is the tenant's date; `start` and `end` are aware, in UTC; `end` belongs to the next window."""

    day: date
    start: datetime
    end: datetime


def window(period: Period, at: datetime, zone: ZoneInfo) -> Window:
    """The window of `period` in which the moment `at` lies, by the calendar of `zone`. A day begins at local
    midnight, so that the days on which clocks change have 23 or 25 hours; a week begins on Monday."""
    latest = _LATEST.get((period, zone))
    if latest is None or not latest[0] <= at < latest[1]:
        minute = at.astimezone(UTC).replace(second=0, microsecond=0)
        latest = _LATEST[period, zone] = minute, minute + timedelta(minutes=1), _window(period, minute, zone)
    return latest[2]


_LATEST: dict[tuple[Period, ZoneInfo], tuple[datetime, datetime, Window]] = {}
"""The minute that was asked about last, from and to, and its window: nearly everybody asks about the present."""


@lru_cache(maxsize=4096)
def _window(period: Period, minute: datetime, zone: ZoneInfo) -> Window:
    today = minute.astimezone(zone).date()
    if period == "minute":
        return Window(today, minute, minute + timedelta(minutes=1))
    if period == "hour":
        # Counted from the zone's own full hour, but in UTC: the hour that clocks repeat is two windows, not one.
        start = minute - timedelta(minutes=minute.astimezone(zone).minute)
        return Window(today, start, start + timedelta(hours=1))
    first, after = _days(period, today)
    return Window(today, _midnight(first, zone), _midnight(after, zone))


def _days(period: Period, today: date) -> tuple[date, date]:
    if period == "week":
        monday = today - timedelta(days=today.weekday())
        return monday, monday + timedelta(days=7)
    if period == "month":
        first = today.replace(day=1)
        return first, (first + timedelta(days=31)).replace(day=1)
    return today, today + timedelta(days=1)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)
