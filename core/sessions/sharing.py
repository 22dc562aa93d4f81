"""How many sessions each of several supervisors holds: about as many as the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from core.clock import Clock

LEFT = 4.0
"""Seconds for which a session must have been free until somebody takes it who has his share: the others cannot."""

LEFT_IN_VAIN = 20.0
"""The same for a session that was handed over: whoever is to take it may have to start a process first."""

SETTLED = 5.0
"""Seconds for which the supervisors must have been the same until one of them hands over."""

PEACE, LONGEST_PEACE = 30.0, 600.0
"""Seconds for which nothing is handed over after nobody has taken what was handed over; twice as long each time."""

_SLACK = 10
"""One in so many of its share may a supervisor hold beyond it: each hand-over costs a session its connection."""


class Sharing:
    """Of one supervisor."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._share = 0
        self._supervisors: set[int] = set()
        self._alone = True
        self._free_since: dict[str, float] = {}
        self._given: dict[str, float] = {}  # tenant -> when it was handed over
        self._not_before, self._in_vain = 0.0, 0

    def look(self, free: Collection[str], load: int, supervisors: set[int]) -> None:
        """`load` sessions are to be held by these living supervisors; `free` are paired and held by nobody."""
        now = self._clock.monotonic()
        self._share, self._alone = -(-load // len(supervisors)), len(supervisors) == 1
        self._free_since = {tenant: self._free_since.get(tenant, now) for tenant in free}
        # Until it is closed here it is not free, and is not the other's either.
        self._given = {
            tenant: at for tenant, at in self._given.items() if tenant in self._free_since or now - at < LEFT_IN_VAIN
        }
        if supervisors != self._supervisors:
            self._supervisors, self._not_before, self._in_vain = supervisors, now + SETTLED, 0

    def takes(self, tenant: str, held: int) -> bool:
        """Whether to take this free session, holding so many. What nobody else has taken is taken back, and then there
        is peace for a while: whatever keeps the others from it will do so again."""
        if self._alone or held < self._share:
            return True
        now = self._clock.monotonic()
        return now - self._free_since.get(tenant, now) >= (LEFT_IN_VAIN if tenant in self._given else LEFT)

    def wants(self, held: int) -> bool:
        """Whether others are about to hand something over to who holds so many."""
        return not self._alone and held < self._share

    def taken(self, tenant: str) -> None:
        """It was opened here."""
        if self._given.pop(tenant, None) is not None:
            self._not_before = self._clock.monotonic() + min(PEACE * 2**self._in_vain, LONGEST_PEACE)
            self._in_vain += 1

    def gives(self, held: int) -> bool:
        """Whether to hand one over, holding so many: another supervisor has less than its share then."""
        if self._alone or self._clock.monotonic() < self._not_before:
            return False
        return held > self._share + self._share // _SLACK

    def given(self, tenant: str) -> None:
        """It is being handed over."""
        self._given[tenant] = self._free_since[tenant] = self._clock.monotonic()
