"""What becomes of messages, told to whoever waits for it and to the plugins.

Plugins of one tenant are told in order, and a slow plugin keeps nobody else waiting.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import msgspec

from core.model import StatusChange

if TYPE_CHECKING:
    from core.model import SessionChange
    from core.tenants import Tenants

log = logging.getLogger(__name__)

AT_MOST = 10_000
"""Changes that wait for one tenant's plugins; beyond that the oldest are dropped, and a log line says so."""


def told(payload: str) -> tuple[StatusChange, int]:
    """(the change, the number of the process that recorded it) of a notification of record.sql or acked.sql."""
    fields = msgspec.json.decode(payload)
    change = StatusChange(
        tenant=fields["tenant_id"],
        message_id=fields["message_id"],
        to=fields["recipient"],
        status=fields["status"],
        at=datetime.fromisoformat(fields["at"]),
        cause=fields["cause"],
    )
    return change, fields["process"]


class Statuses:
    """Publishes StatusChanges within this process."""

    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._untold: dict[str, deque[StatusChange | SessionChange]] = {}
        self._tellers: set[asyncio.Task[None]] = set()

    def publish(self, change: StatusChange) -> None:
        """Tell all: at once whoever waits for this message, soon the tenant's plugins."""
        self.wake_waiters(change)
        self._tell_soon("on_status", change)

    def wake_waiters(self, change: StatusChange) -> None:
        """Another process has told, or will tell, the plugins."""
        for changed in self._waiters.get(change.message_id, ()):
            changed.set()

    def publish_session(self, change: SessionChange) -> None:
        """Soon the tenant's plugins hear of its session."""
        self._tell_soon("on_session", change)

    def _tell_soon(self, hook: Literal["on_status", "on_session"], change: StatusChange | SessionChange) -> None:
        if not self._tenants.hooks(change.tenant).implements(hook):
            return
        if (untold := self._untold.get(change.tenant)) is not None:
            if len(untold) == AT_MOST:
                log.error("%s of %s is too slow: a change is dropped", hook, change.tenant,
                          extra={"action": "status.dropped", "tenant": change.tenant})  # fmt: skip
            untold.append(change)
            return
        self._untold[change.tenant] = deque([change], maxlen=AT_MOST)
        teller = asyncio.create_task(self._tell(change.tenant), name=f"plugins of {change.tenant}")
        self._tellers.add(teller)
        teller.add_done_callback(self._tellers.discard)

    async def _tell(self, tenant: str) -> None:
        hooks, untold = self._tenants.hooks(tenant), self._untold[tenant]
        try:
            while untold:
                change = untold.popleft()
                await hooks.notify("on_status" if isinstance(change, StatusChange) else "on_session", change=change)
        finally:
            del self._untold[tenant]

    def waiter(self, message_id: str) -> Waiter:
        """Use with `with`: an event that is set when something happens to the message in this process."""
        return Waiter(self._waiters, message_id)

    async def close(self) -> None:
        """Let the plugins hear what has happened."""
        if self._tellers:
            await asyncio.wait(self._tellers)


class Waiter:
    """One who waits for news of one message."""

    def __init__(self, waiters: dict[str, set[asyncio.Event]], message_id: str) -> None:
        self._waiters, self._id, self._event = waiters, message_id, asyncio.Event()

    def __enter__(self) -> asyncio.Event:
        self._waiters.setdefault(self._id, set()).add(self._event)
        return self._event

    def __exit__(self, *_: object) -> None:
        waiting = self._waiters[self._id]
        waiting.discard(self._event)
        if not waiting:
            del self._waiters[self._id]
