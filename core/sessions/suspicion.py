"""Whose opening ends processes. The library can end its whole process while it opens a session; nobody knows whose
fault it was, but who was opening each time is kept away from the others."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from core.clock import Clock

SUSPECT, GIVEN_UP = 2, 4
"""After so many deaths of a process while a tenant was opening, it is opened in a process of its own; not at all."""

AWAY_PAUSE = 1.0
"""Seconds until another process is started in place of one that could not reach PostgreSQL."""

LONGEST_PAUSE = 60.0
"""Seconds between starts of processes, when they die without having opened anything."""


class Suspicion:
    """Of one supervisor."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._deaths: Counter[str] = Counter()
        self._useless = 0
        self._not_before = 0.0

    def is_suspect(self, tenant: str) -> bool:
        """Whether it is opened in a process of its own."""
        return self._deaths[tenant] >= SUSPECT

    def would_condemn(self, opening: Collection[str]) -> list[str]:
        """Who of them has had enough chances, this death included."""
        return sorted(tenant for tenant in opening if self._deaths[tenant] + 1 >= GIVEN_UP)

    def accuse(self, opening: Collection[str], *, useful: bool) -> None:
        """A process died while these were opening; `useful`: it had come so far as to open something. One that cannot
        even begin (a library that is missing) is not started again and again at once."""
        self._deaths.update(opening)
        self._useless = 0 if useful else self._useless + 1
        if self._useless:
            self._not_before = self._clock.monotonic() + min(2.0 ** (self._useless - 1), LONGEST_PAUSE)

    def postpone(self) -> None:
        """A process ended because PostgreSQL was away: nobody's fault, and the next one shall find it back."""
        self._not_before = max(self._not_before, self._clock.monotonic() + AWAY_PAUSE)

    @property
    def may_start(self) -> bool:
        """Whether another process may be started now."""
        return self._clock.monotonic() >= self._not_before

    def acquit(self, tenant: str) -> None:
        """It was opened. A suspect stays alone, as nobody knows about the next time, but has all its chances again."""
        self._useless = 0
        self._deaths[tenant] = SUSPECT if self.is_suspect(tenant) else 0

    def forget(self, tenant: str) -> None:
        """Somebody wants it to be tried as if nothing had happened."""
        del self._deaths[tenant]
