"""Out again: claims the due messages of each tenant, hands them to its transport, records what became of them.

One task per tenant that has something queued: pace and order are the database's (`claim_v1`), so that several
processes may serve one tenant. A task waits until the next message is due, or until something new comes in.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from core.errors import SendFailed, StatementRejected, Unavailable
from core.model import StatusChange
from core.outbox import Claimed, Wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.clock import Clock
    from core.model import Outgoing, Status
    from core.paths.statuses import Statuses
    from core.transport.base import Transport
    from db.store import Store

log = logging.getLogger(__name__)

LOOK_ROUND = 2.0
"""Seconds between looks for queues that nobody here was told of: another process's, or after a crash."""

LONGEST_WAIT = 30.0
"""Seconds after which a tenant's task looks again: clocks are corrected, and another gateway may have left
something."""

RECOVERY = 5.0
"""Seconds to hold still after PostgreSQL was away. The gateways first withdraw what their callers were told did not
work, and each finds PostgreSQL again within db.listen's longest pause and connect timeout, four seconds together."""

REST = 0.05
"""Seconds for which nothing is claimed after nothing was due. Where much is queued at once, most of it changes nothing
about what is next, and asking each time would cost as much as admission itself."""

_RETRY = 0.2


class Sender:
    """Sends what is queued, for all tenants whose transport is here."""

    def __init__(  # noqa: PLR0913 - the composition root hands everything over once
        self,
        store: Store,
        clock: Clock,
        statuses: Statuses,
        transport_of: Callable[[str], Transport | None],
        *,
        process: int,
        may_send: Callable[[], bool],
    ) -> None:
        """`process`: this process's number, written into claimed rows; `may_send`: false while PostgreSQL is away, or
        while messages wait to be withdrawn."""
        self._store, self._clock, self._statuses = store, clock, statuses
        self._transport_of, self._process, self._may_send = transport_of, process, may_send
        self._news: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._hold_until = 0.0
        self._handed: set[str] = set()  # given to a transport, and not recorded since

    def hold(self) -> None:
        """PostgreSQL was away: send nothing for `RECOVERY` seconds."""
        self._hold_until = self._clock.monotonic() + RECOVERY

    def wake(self, tenant: str) -> None:
        """Something was queued for `tenant`, or its queue has changed."""
        if news := self._news.get(tenant):
            news.set()
        elif not self._stopping and self._transport_of(tenant) is not None:
            self._news[tenant] = asyncio.Event()
            task = asyncio.create_task(self._serve(tenant), name=f"sender {tenant}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def run(self) -> None:
        """Look round for queues, for ever."""
        while True:
            try:
                for tenant in await self._store.tenants_with_queue():
                    if tenant not in self._news:
                        self.wake(tenant)
            except (Unavailable, StatementRejected) as error:
                log.warning("cannot look for queued messages: %s", error, extra={"action": "sender.database_away"})
            await self._clock.sleep(LOOK_ROUND)

    async def close(self) -> None:
        """Stop claiming; what is in flight is sent and recorded."""
        self._stopping = True
        for news in self._news.values():
            news.set()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, tenant: str) -> None:
        news = self._news[tenant]
        try:
            while not self._stopping:
                news.clear()
                match await self._claim(tenant):
                    case Claimed(message):
                        await self._send(message)
                    case Wait(seconds):
                        await self._clock.sleep(min(seconds, REST))
                        await self._wait(news, min(seconds, LONGEST_WAIT))
                    case None if not news.is_set():
                        return
        except Exception:
            log.exception("the sender of %s stopped; it starts again soon", tenant, extra={"action": "sender.crashed"})
        finally:
            del self._news[tenant]

    async def _claim(self, tenant: str) -> Claimed | Wait | None:
        if not self._may_send() or self._clock.monotonic() < self._hold_until:
            return Wait(_RETRY)
        try:
            return await self._store.claim(tenant, self._process)
        except Unavailable as error:
            log.warning("cannot claim: %s", error, extra={"action": "sender.database_away", "tenant": tenant})
            return Wait(_RETRY)

    async def _wait(self, news: asyncio.Event, seconds: float) -> None:
        waiting = asyncio.ensure_future(news.wait())
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait({waiting, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            sleeping.cancel()

    async def _send(self, message: Outgoing) -> None:
        """Send and record. Whatever the transport does, the row gets a final word."""
        started = self._clock.monotonic()
        status, cause, wa_id = await self._hand_over(message)
        await self._record(message, status, cause, wa_id)
        milliseconds = (self._clock.monotonic() - started) * 1000
        log.info(
            "%s %s to %s for %s in %.0f ms%s",
            status, message.id, message.to, message.tenant, milliseconds, f": {cause}" if cause else "",
            extra={"action": f"send.{status}", "tenant": message.tenant, "message_id": message.id},
        )  # fmt: skip

    async def _hand_over(self, message: Outgoing) -> tuple[Status, str | None, str | None]:
        """(status, cause, WhatsApp's id). A message that was handed over before and is claimed again, because
        recording it went wrong, is never handed over twice."""
        transport = self._transport_of(message.tenant)
        if message.id in self._handed:
            return "unknown", "not_recorded", None
        if transport is None:
            return "failed", "transport_gone", None
        self._handed.add(message.id)
        try:
            return "sent", None, (await transport.send(message)).wa_id
        except SendFailed as error:
            return "unknown" if error.left else "failed", error.cause, None
        except Exception:
            log.exception("transport failed", extra={"action": "send.crashed", "tenant": message.tenant})
            return "unknown", "transport_crashed", None

    async def _record(self, message: Outgoing, status: Status, cause: str | None, wa_id: str | None) -> None:
        """Until it is written: while PostgreSQL is away, what happened is kept here."""
        change = StatusChange(
            tenant=message.tenant,
            message_id=message.id,
            to=message.to,
            status=status,
            at=self._clock.now(),
            cause=cause,
        )
        while True:
            try:
                written = await self._store.record(change, wa_id=wa_id, gives_back=status == "failed")
                break
            except Unavailable as error:
                log.warning("cannot record: %s", error, extra={"action": "sender.database_away"})
            except StatementRejected as error:  # a transport's word that PostgreSQL cannot hold
                log.error("cannot record as it is: %s", error, extra={"action": "sender.not_recordable"})
                change, wa_id = replace(change, cause="not_recordable"), None
            await self._clock.sleep(_RETRY)
        self._handed.discard(message.id)
        if written is not None:
            self._statuses.publish(written)
