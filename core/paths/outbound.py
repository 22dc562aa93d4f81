"""What callers may ask of a message once it is stored: its story, to wait for it, to cancel it."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

from core.errors import Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.clock import Clock
    from core.outbox import StoredMessage
    from core.paths.statuses import Statuses
    from db.store import Store

UNDER_WAY = ("queued", "sending")
"""Not sent, and not yet at an end."""

_POLL = 1.0
"""Seconds between looks at a message that another process may send."""


class Outbound:
    """One tenant's messages, by id. An id of another tenant, or of nobody, is NotFound."""

    def __init__(self, store: Store, clock: Clock, statuses: Statuses, on_cancelled: Callable[[], None]) -> None:
        self._store, self._clock, self._statuses, self._on_cancelled = store, clock, statuses, on_cancelled

    async def get(self, tenant: str, message_id: str) -> StoredMessage:
        """The message with its story. Raises NotFound."""
        message = await self._store.message(tenant, _checked(message_id))
        if message is None:
            raise _not_found()
        return message

    async def cancel(self, tenant: str, message_id: str) -> StoredMessage:
        """Cancel it while it is queued; what it counted comes back. Cancelling again changes nothing. Raises
        NotFound, or Conflict when it is on its way or at an end."""
        found = await self._store.cancel(tenant, _checked(message_id))
        if found is None:
            raise _not_found()
        if (change := found[1]) is not None:
            self._on_cancelled()
            self._statuses.publish(change)
        message = await self.get(tenant, message_id)
        if message.status != "cancelled":
            detail = f"the message is {message.status}; only a queued one can be cancelled"
            raise Conflict("not_queued", detail, state=message.status)
        return message

    async def wait_until_sent(self, tenant: str, message_id: str, seconds: float) -> StoredMessage:
        """The message as soon as it is neither queued nor sending, at the latest after `seconds`."""
        deadline = self._clock.monotonic() + seconds
        with self._statuses.waiter(tenant, message_id) as changed:
            while True:
                message = await self.get(tenant, message_id)
                left = deadline - self._clock.monotonic()
                if message.status not in UNDER_WAY or left <= 0:
                    return message
                try:
                    async with asyncio.timeout(min(left, _POLL)):
                        await changed.wait()
                except TimeoutError:
                    continue
                changed.clear()


def _checked(message_id: str) -> str:
    try:
        return str(uuid.UUID(message_id))
    except ValueError:
        raise _not_found() from None


def _not_found() -> NotFound:
    return NotFound("message_not_found", "this tenant has no message with this id")
