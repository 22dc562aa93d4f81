"""How long callbacks wait: ever longer, never together, and no longer than a day."""

from __future__ import annotations

from datetime import timedelta

import pytest

from core.callback_rows import Posting
from core.clock import Clock
from core.paths.callbacks.backoff import LONGEST, LONGEST_REST, rest_after, result_of, retry_after, wait_after
from core.paths.callbacks.posting import Answer
from tests.plugin_kit import NOON

DAY = 86_400.0


class Middle(Clock):
    """Chance always falls in the middle."""

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2


def posting(tries: int = 0, failures: int = 0, left: float = DAY) -> Posting:
    """A delivery in hand."""
    return Posting("id", 1, tries, failures, left)


def test_waits_double_from_five_seconds_to_an_hour() -> None:
    """However often it failed."""
    waits = [wait_after(tries, Middle()) for tries in range(1, 13)]
    assert waits == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]
    assert wait_after(10_000, Middle()) == LONGEST


def test_waits_differ() -> None:
    """By up to a fifth, so that what failed together does not come back together."""
    waits = {wait_after(3, Clock()) for _ in range(200)}
    assert len(waits) > 100
    assert all(16 <= wait <= 24 for wait in waits)


def test_an_endpoint_rests_after_three_failures_in_a_row() -> None:
    """And never longer than five minutes."""
    assert [rest_after(failures, Middle()) for failures in range(7)] == [None, None, None, 5, 10, 20, 40]
    assert rest_after(1000, Middle()) == LONGEST_REST


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None), ("", None), ("soon", None), ("-5", None), ("1.5", None), ("0", 0.0), ("120", 120.0), (" 7 ", 7.0),
        ("9" * 30, 3600.0), ("9" * 5000, 3600.0), ("Mon, 05 Jan 2026 05:02:00 GMT", 120.0),
        ("Mon, 05 Jan 2026 04:00:00 GMT", 0.0), ("Mon, 05 Jan 2027 05:00:00 GMT", 3600.0),
        ("Mon, 05 Jan 2026 05:02:00 -0000", None), ("٣", None),
    ],
)  # fmt: skip
def test_retry_after(header: str | None, seconds: float | None) -> None:
    """Seconds or a date, at most an hour; what cannot be read is as if it was not there."""
    assert retry_after(header, NOON) == seconds


def test_the_date_of_retry_after_is_held_against_now() -> None:
    """Not against some other clock."""
    assert retry_after("Mon, 05 Jan 2026 05:02:00 GMT", NOON + timedelta(seconds=60)) == 60


def test_what_was_accepted_is_delivered() -> None:
    """With the status that it was accepted with."""
    result = result_of(Answer(accepted=True, status=204), posting(failures=9), Middle())
    assert (result.status, result.http_status, result.error, result.rest) == ("delivered", 204, None, None)


def test_what_failed_waits_and_after_a_day_is_dead() -> None:
    """It dies when the next try would come after its time; the third failure in a row makes the endpoint rest."""
    failed = Answer(accepted=False, status=500, error="no")
    result = result_of(failed, posting(tries=1, failures=1), Middle())
    assert (result.status, result.wait, result.rest, result.error) == ("pending", 10, None, "no")
    assert result_of(failed, posting(tries=1, failures=2), Middle()).rest == 5
    assert result_of(failed, posting(tries=20, left=3601), Middle()).status == "pending"
    assert result_of(failed, posting(tries=20, left=3599), Middle()).status == "dead"


def test_a_receiver_that_says_when_is_obeyed() -> None:
    """Both the delivery and everything else to its endpoint wait as long, and no shorter than they would anyway."""
    busy = Answer(accepted=False, status=429, error="slow down", retry_after=60)
    result = result_of(busy, posting(), Middle())
    assert (result.status, result.wait, result.rest) == ("pending", 60, 60)
    result = result_of(busy, posting(tries=9, failures=9), Middle())
    assert (result.wait, result.rest) == (2560, 300)


def test_gone_is_gone() -> None:
    """410 is not tried again."""
    assert result_of(Answer(accepted=False, status=410, final=True), posting(), Middle()).status == "dead"
