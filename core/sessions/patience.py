"""How long a session that could not be opened, or was banned for a time, waits before it is opened again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from core.clock import Clock

AGAIN = (2.0, 5.0, 15.0, 60.0)
"""Seconds until a session that could not be opened is tried again."""

BANNED = (10.0, 300.0, 1800.0, 7200.0)
"""Seconds after the end of a ban until the session is opened again, at least; more when WhatsApp bans it again."""

HOPELESS = 300.0
"""Seconds for which the library may hold on to a session that is to be opened anew, until its process is given up."""


class Patience:
    """Of one session; it grows until the session has connected."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = self._bans = 0
        self._held_since: float | None = None

    def connected(self) -> None:
        """All is well: it begins anew."""
        self._failures = self._bans = 0

    def failed(self, times: int) -> None:
        """It has failed so often."""
        self._failures = times

    def opened(self) -> None:
        """The library has let go of the client before."""
        self._held_since = None

    def is_lost_at(self, cause: str) -> bool:
        """Opening failed with `cause`; whether the library has held on to the client before for too long."""
        if cause not in ("already_open", "timed_out"):
            self._held_since = None
            return False
        now = self._clock.monotonic()
        self._held_since = self._held_since or now
        return now - self._held_since > HOPELESS

    async def pause(self) -> None:
        """After one more failure."""
        seconds = AGAIN[min(self._failures, len(AGAIN) - 1)]
        self._failures += 1
        await self._clock.sleep(seconds)

    async def sit_out(self, until: datetime) -> None:
        """A ban that ends by itself. Who asks for the session does not wait for that."""
        left = max((until - self._clock.now()).total_seconds(), 0.0)
        after = BANNED[min(self._bans, len(BANNED) - 1)]
        self._bans += 1
        await self._clock.sleep(left + self._clock.uniform(after, 2 * after))
