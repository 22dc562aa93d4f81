"""How long to wait after a post that failed. Times are seconds."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from core.callback_rows import Result

if TYPE_CHECKING:
    from datetime import datetime

    from core.callback_rows import Posting
    from core.clock import Clock
    from core.paths.callbacks.posting import Answer

FIRST, LONGEST = 5.0, 3600.0
"""The wait after the first failure; each further one doubles it."""

JITTER = 0.2
"""Up to this part of a wait is added or taken away, so that those who failed together do not come back together."""

IN_A_ROW, LONGEST_REST = 3, 300.0
"""After so many failures in a row an endpoint is left alone between two posts, at most for this long: it is posted to
one by one then, and shall not be out of sight for an hour when it comes back."""


def wait_after(tries: int, clock: Clock) -> float:
    """Until a delivery is posted again that has failed `tries` times."""
    return _grown(tries, LONGEST) * clock.uniform(1 - JITTER, 1 + JITTER)


def rest_after(failures: int, clock: Clock) -> float | None:
    """Until anything is posted to an endpoint that has failed so many times in a row; None: no rest."""
    if failures < IN_A_ROW:
        return None
    return _grown(failures - IN_A_ROW + 1, LONGEST_REST) * clock.uniform(1 - JITTER, 1 + JITTER)


def _grown(times: int, longest: float) -> float:
    return min(FIRST * 2.0 ** min(times - 1, 30), longest)


def retry_after(header: str | None, now: datetime) -> float | None:
    """Seconds of a Retry-After header, as a number or as a date; at most an hour. None: it says nothing."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:20]), LONGEST)
    try:
        seconds = (parsedate_to_datetime(text) - now).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.0), LONGEST)


def result_of(answer: Answer, posting: Posting, clock: Clock) -> Result:
    """What an answer means for its delivery and its endpoint. Dead is what was answered 410 Gone, what cannot be posted
    at all, and what would have to be tried after its day is over."""
    if answer.accepted:
        return Result("delivered", answer.status)
    wait = max(wait_after(posting.tries + 1, clock), answer.retry_after or 0.0)
    rests = [rest_after(posting.failures + 1, clock), answer.retry_after]
    rest = max((seconds for seconds in rests if seconds is not None), default=None)
    dies = answer.final or wait > posting.left
    return Result("dead" if dies else "pending", answer.status, answer.error, wait=wait, rest=rest)
