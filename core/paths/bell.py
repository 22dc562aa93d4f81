"""Tells session processes that messages were queued: one statement for all tenants that gathered meanwhile."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from core.errors import StatementRejected, Unavailable

if TYPE_CHECKING:
    from db.store import Store

log = logging.getLogger(__name__)


class Bell:
    """A bell that could not be rung is made good by the senders' own look round."""

    def __init__(self, store: Store, channel: str) -> None:
        self._store, self._channel = store, channel
        self._tenants: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def ring(self, tenant: str) -> None:
        """Something was queued for `tenant`."""
        self._tenants.add(tenant)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._ring(), name="bell")

    async def _ring(self) -> None:
        while self._tenants:
            tenants, self._tenants = self._tenants, set()
            try:
                await self._store.notify(self._channel, *sorted(tenants))
            except (Unavailable, StatementRejected) as error:
                log.warning("senders are not woken: %s", error, extra={"action": "bell.database_away"})

    async def close(self) -> None:
        """Ring for what was queued last."""
        if self._task is not None:
            await asyncio.wait([self._task])
