"""How many sessions may begin to use PostgreSQL now, so that its connections do not run out."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from core.errors import StatementRejected, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.clock import Clock
    from core.session_rows import FreeConnections

log = logging.getLogger(__name__)

KEEP, KEEP_AT_LEAST = 0.15, 8
"""Of all connections, the share that is left to what comes in, to everybody's own pools, and to other programs."""

FRESH, STALE = 0.25, 2.0
"""Seconds for which a measurement is good, and after which it says nothing any more."""

LONGEST = 15.0
"""Seconds without room after which one goes all the same: who has too few connections for ever is slow, not dead."""

_SAY_AGAIN = 60.0


class Room:
    """Of one session process. The library makes connections of its own when a session connects, sends or receives; it
    fails where it gets none, and can be told no limit. So whoever connects or sends, asks here first; what comes in
    cannot be asked, and finds what was kept."""

    def __init__(self, clock: Clock, measure: Callable[[], Awaitable[FreeConnections]]) -> None:
        self._clock, self._measure = clock, measure
        self._left = 1
        self._measured_at = self._said_at = float("-inf")
        self._full_since: float | None = None
        self._measuring: asyncio.Task[None] | None = None

    def take(self) -> bool:
        """Whether one more session may begin to use PostgreSQL now."""
        now = self._clock.monotonic()
        if now - self._measured_at > FRESH and (self._measuring is None or self._measuring.done()):
            self._measuring = asyncio.create_task(self._look(), name="room")
            if now - self._measured_at > STALE:
                self._left = max(self._left, 1)
        if self._left > 0:
            self._left -= 1
            self._full_since = None
            return True
        if self._full_since is None:
            self._full_since = now
        if now - self._full_since < LONGEST:
            return False
        self._full_since = now
        return True

    async def wait(self) -> None:
        """Until one more may."""
        while not self.take():
            await self._clock.sleep(FRESH)

    async def _look(self) -> None:
        try:
            found = await self._measure()
        except (Unavailable, StatementRejected):
            self._left = 1  # what is wrong with PostgreSQL, whoever goes on will see
        else:
            keep = max(KEEP_AT_LEAST, round(found.total * KEEP))
            self._left = max(0, found.free - keep) // max(found.processes, 1)
            if self._left == 0:
                self._say(found)
        self._measured_at = self._clock.monotonic()

    def _say(self, found: FreeConnections) -> None:
        now = self._clock.monotonic()
        if now - self._said_at > _SAY_AGAIN:
            self._said_at = now
            log.warning("of %d connections to PostgreSQL only %d are free: sessions wait for one another",
                        found.total, found.free, extra={"action": "room.full"})  # fmt: skip


class Turns:
    """Whose turn it is to connect, as `async with`: one session at a time, at most one every `GAP` seconds, and only
    when PostgreSQL has room. So hundreds of tenants storm neither WhatsApp nor PostgreSQL when a gateway starts, and
    one tenant at a time is under suspicion in the moment in which processes have died."""

    GAP = 0.1
    """Seconds from one connect's beginning to the next, on average: each gap is random, so that processes which were
    started together do not stay in step."""

    def __init__(self, clock: Clock, room: Room) -> None:
        self._clock, self._room = clock, room
        self._lock = asyncio.Lock()
        self._next = float("-inf")

    async def __aenter__(self) -> None:
        await self._lock.acquire()
        try:
            if (early := self._next - self._clock.monotonic()) > 0:
                await self._clock.sleep(early)
            await self._room.wait()
        except BaseException:
            self._lock.release()
            raise
        self._next = self._clock.monotonic() + self._clock.uniform(0.5 * self.GAP, 1.5 * self.GAP)

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()
