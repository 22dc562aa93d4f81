"""A session's state, here at once and in its row as soon as PostgreSQL takes it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from core.errors import StatementRejected, Unavailable
from core.transport.base import SessionStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.clock import Clock
    from core.model import SessionState
    from core.session_rows import Pairing
    from db.session_store import SessionStore

log = logging.getLogger(__name__)

_RETRY = 0.2


async def until_written(write: Callable[[], Awaitable[object]], clock: Clock, tenant: str) -> None:
    """Again and again while PostgreSQL is away. What it refuses for good is logged, and nobody waits for it."""
    waits = False
    while True:
        try:
            await write()
            return
        except Unavailable as error:
            if not waits:
                log.warning("%s: a change waits: %s", tenant, error,
                            extra={"action": "session.database_away", "tenant": tenant})  # fmt: skip
            waits = True
            await clock.sleep(_RETRY)
        except StatementRejected as error:
            log.error("%s: a change was refused: %s", tenant, error,
                      extra={"action": "session.not_recordable", "tenant": tenant})  # fmt: skip
            return


class Standing:
    """Of one tenant's session. Whoever writes, writes what holds then: news cannot overtake each other in the row."""

    def __init__(self, tenant: str, store: SessionStore, clock: Clock, *, process: int) -> None:
        self._tenant, self._store, self._clock, self._process = tenant, store, clock, process
        self._now = SessionStatus("disconnected")
        self._pairing: Pairing | None = None
        self._written: tuple[SessionStatus, Pairing | None] | None = None
        self._writing = asyncio.Lock()

    @property
    def status(self) -> SessionStatus:
        """The state as this process knows it."""
        return self._now

    def show(self, state: SessionState, reason: str | None, pairing: Pairing | None = None) -> None:
        """Be in this state here; the row is for another moment."""
        self._now, self._pairing = SessionStatus(state, reason), pairing

    async def enter(self, state: SessionState, reason: str | None, pairing: Pairing | None = None) -> None:
        """Be in this state, here and in the row."""
        self.show(state, reason, pairing)
        async with self._writing:
            if self._written != (self._now, self._pairing):
                await until_written(self._write, self._clock, self._tenant)

    async def _write(self) -> None:
        now = self._now, self._pairing
        # Cancelled or refused half-way, nobody knows what the row says.
        self._written = None
        status, pairing = now
        await self._store.changed(self._process, self._tenant, status.state, status.reason, pairing)
        self._written = now
