"""The tenant's calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.decisions import Period
from core.windows import window

JAKARTA, BERLIN, KATHMANDU = ZoneInfo("Asia/Jakarta"), ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kathmandu")
ZONES = [JAKARTA, BERLIN, KATHMANDU, ZoneInfo("America/Santiago"), ZoneInfo("Pacific/Apia"), ZoneInfo("Africa/Cairo")]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def test_a_day_ends_at_the_tenants_midnight_and_not_at_the_servers() -> None:
    """23:59:59 and 00:00:00 in Jakarta are two days; both are 16:59 and 17:00 of one UTC day."""
    before, after = (
        window("day", at("2026-11-22T16:59:59Z"), JAKARTA),
        window("day", at("2026-11-22T17:00:00Z"), JAKARTA),
    )
    assert (before.day, after.day) == (date(2026, 11, 22), date(2026, 11, 23))
    assert before.end == after.start == at("2026-11-22T17:00:00Z")


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)])
def test_a_day_on_which_clocks_change_has_23_or_25_hours(day: str, hours: int) -> None:
    """The limit begins anew at local midnight all the same."""
    span = window("day", at(f"{day}T12:00:00+01:00"), BERLIN)
    assert span.end - span.start == timedelta(hours=hours)


def test_the_hour_that_clocks_repeat_is_two_windows() -> None:
    """02:30 comes twice on 2026-10-25 in Berlin."""
    first, second = (
        window("hour", at("2026-10-25T00:30:00Z"), BERLIN),
        window("hour", at("2026-10-25T01:30:00Z"), BERLIN),
    )
    assert first.end == second.start


def test_an_hour_begins_at_the_zones_own_full_hour() -> None:
    """Kathmandu is at +05:45."""
    assert window("hour", at("2026-01-01T12:50:00+05:45"), KATHMANDU).start == at("2026-01-01T12:00:00+05:45")


def test_a_week_begins_on_monday_and_a_month_on_its_first() -> None:
    """Also across the turn of the year."""
    week, month = (
        window("week", at("2027-01-01T10:00:00+07:00"), JAKARTA),
        window("month", at("2026-12-31T23:00:00+07:00"), JAKARTA),
    )
    assert (week.start, week.end) == (at("2026-12-28T00:00:00+07:00"), at("2027-01-04T00:00:00+07:00"))
    assert (month.start, month.end) == (at("2026-12-01T00:00:00+07:00"), at("2027-01-01T00:00:00+07:00"))


@given(
    moment=st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2050, 1, 1)),  # noqa: DTZ001 - made aware below
    zone=st.sampled_from(ZONES),
    period=st.sampled_from(get_args(Period)),
)
def test_every_moment_lies_in_its_window_and_windows_join(moment: datetime, zone: ZoneInfo, period: Period) -> None:
    """No gap and no overlap, in any zone, on any day."""
    moment = moment.replace(tzinfo=UTC)
    spans = [window(period, moment, zone)]
    assert spans[0].start <= moment < spans[0].end
    for _ in range(3):
        spans.append(window(period, spans[-1].end, zone))
    assert all(before.end == after.start for before, after in pairwise(spans))
