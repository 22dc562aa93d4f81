"""Who waits for a message to be sent is woken when it is.

PostgreSQL tells whose event there is, and not which: one look per tenant then tells for all who wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from core.errors import StatementRejected, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.model import StatusChange
    from db.reader_store import ReaderStore

log = logging.getLogger(__name__)


class Statuses:
    """Of one gateway."""

    def __init__(self, store: ReaderStore) -> None:
        self._store = store
        self._waiters: dict[str, dict[str, set[asyncio.Event]]] = {}
        self._stale: set[str] = set()
        self._lookers: dict[str, asyncio.Task[None]] = {}

    def publish(self, change: StatusChange) -> None:
        """This process knows what happened to a message."""
        self._wake(change.tenant, change.message_id)

    def heard(self, tenant: str) -> None:
        """Something has happened to the tenant."""
        if tenant not in self._waiters:
            return
        self._stale.add(tenant)
        if tenant not in self._lookers:
            self._lookers[tenant] = asyncio.create_task(self._look(tenant), name=f"waiters of {tenant}")

    async def _look(self, tenant: str) -> None:
        """One look at a time: what happens during one is seen by the next."""
        try:
            while tenant in self._stale:
                self._stale.discard(tenant)
                for message_id in await self._store.moved_on(tenant, list(self._waiters.get(tenant, ()))):
                    self._wake(tenant, message_id)
        except (Unavailable, StatementRejected) as error:  # who waits looks by itself now and then
            log.warning("cannot look for whom %s waits: %s", tenant, error, extra={"action": "waiters.database_away"})
        finally:
            del self._lookers[tenant]

    def _wake(self, tenant: str, message_id: str) -> None:
        for changed in self._waiters.get(tenant, {}).get(message_id, ()):
            changed.set()

    @contextlib.contextmanager
    def waiter(self, tenant: str, message_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when the tenant's message is neither queued nor sending any more."""
        changed = asyncio.Event()
        self._waiters.setdefault(tenant, {}).setdefault(message_id, set()).add(changed)
        try:
            yield changed
        finally:
            waiting = self._waiters[tenant]
            waiting[message_id].discard(changed)
            if not waiting[message_id]:
                del waiting[message_id]
            if not waiting:
                del self._waiters[tenant]
