"""What comes in from WhatsApp becomes rows: messages and receipts, each until it is written.

WhatsApp has been told that a message arrived before Python sees it, so nobody but us will bring it again: while
PostgreSQL is away the caller waits, and with it the library, which then stops reading.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from core.errors import StatementRejected, Unavailable
from core.failpoints import reach
from core.model import Incoming
from core.session_rows import Arrival
from core.transport.wire import Receipt, Received, Signal, Unreadable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.clock import Clock
    from core.transport.wire import Arriving
    from db.session_store import SessionStore
    from db.store import Store

log = logging.getLogger(__name__)

OLD_NEWS = timedelta(minutes=2)
"""A message that is older on arrival is backlog: bots do not answer it."""

_RETRY = 0.2


class Intake:
    """Of one session process, for all its tenants."""

    def __init__(self, store: Store, sessions: SessionStore, clock: Clock, *, process: int) -> None:
        self._store, self._sessions, self._clock, self._process = store, sessions, clock, process

    async def take(self, tenant: str, event: Arriving) -> None:
        """Whatever came; returns when it is written."""
        match event:
            case Received():
                await self.message(tenant, event)
            case Receipt():
                await self.receipt(tenant, event)
            case Signal():
                await self.signal(tenant, event)
            case Unreadable():
                await self.unreadable(tenant, event)

    async def message(self, tenant: str, received: Received) -> None:
        """Keep a person's message, once, whatever its kind. What the tenant wrote itself is no news."""
        reach("incoming_received")
        if not received.from_me:
            message = self._incoming(tenant, received)
            await self._keep(tenant, received.id, lambda: self._store.add_incoming(message, received.kind))
            reach("incoming_written")

    async def signal(self, tenant: str, signal: Signal) -> None:
        """It has arrived, and there is nothing to keep."""
        await self._keep(tenant, signal.id, lambda: self._sessions.arrived(tenant, signal.id))

    async def unreadable(self, tenant: str, message: Unreadable) -> None:
        """Nobody can read it any more: unless we have it, it will be named as lost."""
        lost = Arrival(tenant=tenant, id=message.id, chat=message.chat, sender=message.sender)
        await self._keep(tenant, message.id, lambda: self._sessions.miss(lost))

    def _incoming(self, tenant: str, received: Received) -> Incoming:
        return Incoming(
            id=received.id,
            tenant=tenant,
            chat=received.chat,
            sender=received.sender,
            content=received.content.replace("\0", ""),
            at=received.at,
            phone=received.phone,
            lid=received.lid,
            push_name=received.push_name.replace("\0", ""),
            reply_to=received.reply_to.replace("\0", "") if received.reply_to else None,
            mentions=tuple(who.replace("\0", "") for who in received.mentions),
            backlog=self._clock.now() - received.at > OLD_NEWS,
        )

    async def _keep(self, tenant: str, message_id: str, write: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await write()
                return
            except Unavailable as error:
                log.warning("incoming waits: %s", error, extra={"action": "intake.database_away", "tenant": tenant})
                await self._clock.sleep(_RETRY)
            except StatementRejected as error:
                # What PostgreSQL cannot hold today it cannot hold tomorrow, and nothing behind it may wait for it.
                log.error("message %s cannot be kept: %s", message_id, error, extra={"action": "intake.lost", "tenant": tenant})  # fmt: skip # noqa: E501
                return

    async def receipt(self, tenant: str, receipt: Receipt) -> None:
        """Write how far messages have come. A message has its WhatsApp id before it leaves, so that no receipt comes
        too early."""
        reach("receipt_received")
        while True:
            try:
                await self._sessions.acked(tenant, receipt.ids, receipt.status, self._process)
                break
            except Unavailable as error:
                log.warning("receipt waits: %s", error, extra={"action": "intake.database_away", "tenant": tenant})
                await self._clock.sleep(_RETRY)
            except StatementRejected as error:
                log.error("receipt: %s", error, extra={"action": "intake.receipt_rejected", "tenant": tenant})
                break
        reach("receipt_written")
