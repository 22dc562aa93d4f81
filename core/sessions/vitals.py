"""What a session sees in passing that outlasts the moment: its phone lives, or WhatsApp wants a newer client."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from core.sessions.standing import until_written
from core.transport.wire import PhoneSeen, Received

if TYPE_CHECKING:
    from core.clock import Clock
    from core.transport.wire import Event
    from db.session_store import SessionStore

log = logging.getLogger(__name__)

PHONE_EVERY = 3600.0
"""Seconds for which signs of the phone are not written down again."""

CLIENT_OUTDATED = "client_outdated"


class Vitals:
    """Of one tenant's session."""

    def __init__(self, tenant: str, store: SessionStore, clock: Clock, *, process: int) -> None:
        self._tenant, self._store, self._clock, self._process = tenant, store, clock, process
        self._next_sign = float("-inf")

    async def look_at(self, event: Event) -> None:
        """Whatever came: some of it is a sign of the tenant's own phone."""
        if not isinstance(event, PhoneSeen) and not (isinstance(event, Received) and event.from_phone):
            return
        now = self._clock.monotonic()
        if now >= self._next_sign:
            self._next_sign = now + PHONE_EVERY
            seen = partial(self._store.phone_seen, self._process, self._tenant)
            await until_written(seen, self._clock, self._tenant)

    async def outdated(self, words: str) -> None:
        """It concerns the whole installation: one process says so aloud."""
        await until_written(partial(self._raise_alarm, words), self._clock, self._tenant)

    async def _raise_alarm(self, words: str) -> None:
        if await self._store.raise_alarm(CLIENT_OUTDATED, words):
            log.critical("no session can connect: %s", words, extra={"action": f"alarm.{CLIENT_OUTDATED}"})

    async def connected(self) -> None:
        """What was wrong with the client is not any more."""
        await until_written(partial(self._store.clear_alarm, CLIENT_OUTDATED), self._clock, self._tenant)
