"""How long tenants were without a connection. Pure: facts in, seconds out."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.facts import Blow, Facts


def takeovers(facts: Facts, *, undisturbed: bool = False) -> list[float]:
    """For each killed session process with tenants: seconds from the kill until all of them were `connected`.
    `undisturbed`: only those during which nothing else struck."""
    connected = _connected(facts)
    found = []
    for blow in facts.blows:
        back = [_next(connected[tenant], blow.at) for tenant in _tenants_of(blow, facts)] if blow.takes else []
        known = [at for at in back if at is not None]
        if known and not (undisturbed and _another(blow, max(known), facts)):
            found.append(max(known) - blow.at)
    return found


def absences(facts: Facts) -> list[float]:
    """For each connection that ended, for whatever reason: seconds until its tenant was `connected` again."""
    connected = _connected(facts)
    ended = [(login.tenant, login.ended) for login in facts.logins if login.ended is not None]
    back = [(_next(connected[tenant], at), at) for tenant, at in ended]
    return [again - at for again, at in back if again is not None]


def figures(seconds: Sequence[float]) -> str:
    """Median and maximum, of how many."""
    return f"median {median(seconds):.1f} s, at most {max(seconds):.1f} s, of {len(seconds)}" if seconds else "none"


def _connected(facts: Facts) -> defaultdict[str, list[float]]:
    found: defaultdict[str, list[float]] = defaultdict(list)
    for event in facts.events:
        if event.type == "session.connected":
            found[event.tenant].append(event.at)
    return found


def _tenants_of(blow: Blow, facts: Facts) -> set[str]:
    """Whose connection ended with it."""
    return {
        login.tenant for login in facts.logins if login.ended is not None and 0 <= login.ended - blow.at < blow.takes
    }


def _next(times: Sequence[float], at: float) -> float | None:
    place = bisect_right(times, at)
    return times[place] if place < len(times) else None


def _another(blow: Blow, until: float, facts: Facts) -> bool:
    return any(other is not blow and blow.at <= other.at < until for other in facts.blows)
