"""Out again: claims the due messages of each tenant, hands them to its transport, records what became of them.

One task per tenant that has something queued: pace and order are the database's (`claim_v3`), so that several
processes may serve one tenant. A task waits until the next message is due, or until something new comes in.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from core.errors import SendFailed, StatementRejected, Unavailable
from core.failpoints import reach
from core.model import StatusChange
from core.outbox import Claimed, Wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.clock import Clock
    from core.model import Outgoing, Status
    from core.transport.base import Transport
    from db.outbox_store import OutboxStore

    Handed = bytes | str
    """An attempt by its secret; a message that makes none, by its id."""

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

TYPING = 4.0
"""Seconds for which the recipient sees a paced message being written, at most."""

GLIMPSE = 0.3
"""Seconds before a message is due from which on typing is not begun any more: it might arrive after the message."""

OF_THE_SESSION = frozenset(
    {"not_connected", "disconnected", "not_logged_in", "not_open", "lease_lost", "rate_limited", "reach_out_timelock"}
)
"""Causes for which a message did not leave that say nothing about the message: it may be tried until it expires."""

_RETRY = 0.2


class Sender:
    """Sends what is queued, for all tenants whose transport is here."""

    def __init__(  # noqa: PLR0913 - the composition root hands everything over once
        self,
        store: OutboxStore,
        clock: Clock,
        transport_of: Callable[[str], Transport | None],
        *,
        process: int,
        may_send: Callable[[], bool],
        on_recorded: Callable[[StatusChange], None],
        secret: Callable[[], bytes | None] = lambda: None,
        known_only: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`transport_of(tenant)`: None while its messages cannot go from here; `process`: this process's number,
        written into claimed rows; `may_send`: false while PostgreSQL is away, or while messages wait to be withdrawn;
        `on_recorded` is told what became of each message; `secret`: makes that of an attempt on WhatsApp;
        `known_only(tenant)`: no new conversations now."""
        self._secret, self._known_only = secret, known_only
        self._store, self._clock, self._on_recorded = store, clock, on_recorded
        self._transport_of, self._process, self._may_send = transport_of, process, may_send
        self._put_backs: dict[str, int] = {}  # tenant -> how often in a row its message did not leave
        self._typed: dict[str, str] = {}  # tenant -> to whom typing was shown since its last message
        self._news: dict[str, asyncio.Event] = {}
        self._pauses: dict[str, asyncio.Event] = {}  # of tenants whose message did not leave; set when it may again
        self._tasks: set[asyncio.Task[None]] = set()
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._stopping = False
        self._hold_until = 0.0
        self._handed: set[Handed] = set()  # given to a transport, and not recorded since

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
            self._serving[tenant] = task
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def resume(self, tenant: str) -> None:
        """The tenant's transport works (again): what did not leave is not to wait any longer."""
        self._put_backs.pop(tenant, None)
        if pause := self._pauses.get(tenant):
            pause.set()
        self.wake(tenant)

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

    async def finish(self, tenant: str) -> None:
        """Wait until what is in flight for `tenant` is recorded. To be called when its transport is None already, so
        that nothing more is claimed."""
        for waiting in (self._news.get(tenant), self._pauses.get(tenant)):
            if waiting is not None:
                waiting.set()
        if (serving := self._serving.get(tenant)) is not None:
            await asyncio.wait([serving])

    async def close(self) -> None:
        """Stop claiming; what is in flight is sent and recorded."""
        self._stopping = True
        for waiting in (*self._news.values(), *self._pauses.values()):
            waiting.set()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, tenant: str) -> None:
        news = self._news[tenant]
        try:
            while not self._stopping:
                news.clear()
                match await self._claim(tenant):
                    case Claimed() as claimed:
                        reach("claimed")
                        await self._send(claimed)
                    case Wait(seconds, to):
                        rest = min(seconds, REST)
                        await self._clock.sleep(rest)
                        await self._wait(news, self._until_typing(tenant, to, seconds - rest))
                    case None if not news.is_set():
                        return
        except Exception:
            log.exception("the sender of %s stopped; it starts again soon", tenant, extra={"action": "sender.crashed"})
        finally:
            del self._news[tenant], self._serving[tenant]

    def _until_typing(self, tenant: str, to: str | None, seconds: float) -> float:
        """How long to wait. The last `TYPING` seconds before a message is due, its recipient sees it being written."""
        if to is not None and seconds > TYPING:
            return min(seconds - TYPING, LONGEST_WAIT)
        if to is not None and seconds >= GLIMPSE and self._typed.get(tenant) != to:
            self._typed[tenant] = to
            self._type(tenant, to)
        return min(seconds, LONGEST_WAIT)

    def _type(self, tenant: str, to: str) -> None:
        if transport := self._transport_of(tenant):
            task = asyncio.create_task(transport.typing(tenant, to), name=f"typing {tenant}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _claim(self, tenant: str) -> Claimed | Wait | None:
        if self._transport_of(tenant) is None:
            return None  # whoever makes it usable wakes us
        if not self._may_send() or self._clock.monotonic() < self._hold_until:
            return Wait(_RETRY)
        try:
            only = self._known_only(tenant)
            return await self._store.claim(tenant, self._process, self._secret(), known_only=only)
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

    async def _send(self, claimed: Claimed) -> None:
        """Send and record. Whatever the transport does, the row gets a final word."""
        message, started = claimed.message, self._clock.monotonic()
        self._typed.pop(message.tenant, None)
        try:
            status, cause, wa_id = await self._hand_over(claimed)
        except SendFailed as error:
            await self._put_back(claimed, error)
            return
        self._put_backs.pop(message.tenant, None)
        await self._record(claimed, status, cause, wa_id)
        milliseconds = (self._clock.monotonic() - started) * 1000
        log.info(
            "%s %s to %s for %s in %.0f ms%s",
            status, message.id, message.to, message.tenant, milliseconds, f": {cause}" if cause else "",
            extra={"action": f"send.{status}", "tenant": message.tenant, "message_id": message.id},
        )  # fmt: skip

    async def _hand_over(self, claimed: Claimed) -> tuple[Status, str | None, str | None]:
        """(status, cause, WhatsApp's id). An attempt that was handed over before and is claimed again, because
        recording it went wrong, is never handed over twice. Raises SendFailed for one that did not leave and may be
        tried again."""
        message, handed = claimed.message, _handed(claimed)
        transport = self._transport_of(message.tenant)
        if handed in self._handed:
            return "unknown", "not_recorded", None
        if transport is None:
            raise SendFailed("not_connected", retry=True)
        self._handed.add(handed)
        reach("handing_over")
        try:
            sent = await transport.send(message, claimed.secret)
            reach("answered")
            return "sent", None, sent.wa_id
        except SendFailed as error:
            if error.retry:
                self._handed.discard(handed)
                raise
            return "unknown" if error.left else "failed", error.cause, None
        except Exception:
            log.exception("transport failed", extra={"action": "send.crashed", "tenant": message.tenant})
            return "unknown", "transport_crashed", None

    async def _put_back(self, claimed: Claimed, why: SendFailed) -> None:
        """It did not leave: it goes when the session is there again, unless its time is over before. For a reason of
        its own it waits alone, and not for ever."""
        message = claimed.message
        log.info("%s to %s for %s did not leave: %s", message.id, message.to, message.tenant, why.cause,
                 extra={"action": "send.put_back", "tenant": message.tenant, "message_id": message.id})  # fmt: skip
        if (failed := await self._requeue(claimed, why)) is not None:
            self._on_recorded(failed)
        if why.cause in OF_THE_SESSION and not why.pause:
            await self._pause(message)

    async def _requeue(self, claimed: Claimed, why: SendFailed) -> StatusChange | None:
        while True:
            try:
                return await self._store.requeue(
                    claimed.message.id, self._process, why.cause,
                    secret=claimed.secret, is_own=why.cause not in OF_THE_SESSION, pause=why.pause,
                )  # fmt: skip
            except Unavailable as error:
                log.warning("cannot put back: %s", error, extra={"action": "sender.database_away"})
            await self._clock.sleep(_RETRY)

    async def _pause(self, message: Outgoing) -> None:
        """Nothing of the tenant's can leave: not to be tried at once, nor long after it can again."""
        again = self._put_backs[message.tenant] = self._put_backs.get(message.tenant, 0) + 1
        if not self._stopping:
            self._pauses[message.tenant] = pause = asyncio.Event()
            await self._wait(pause, min(2.0 ** (again - 2), LONGEST_WAIT))
            del self._pauses[message.tenant]

    async def _record(self, claimed: Claimed, status: Status, cause: str | None, wa_id: str | None) -> None:
        """Until it is written: while PostgreSQL is away, what happened is kept here."""
        message = claimed.message
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
                written = await self._store.record(
                    change, self._process, secret=claimed.secret, wa_id=wa_id, gives_back=status == "failed"
                )
                break
            except Unavailable as error:
                log.warning("cannot record: %s", error, extra={"action": "sender.database_away"})
            except StatementRejected as error:  # a transport's word that PostgreSQL cannot hold
                log.error("cannot record as it is: %s", error, extra={"action": "sender.not_recordable"})
                change, wa_id = replace(change, cause="not_recordable"), None
            await self._clock.sleep(_RETRY)
        reach("recorded")
        self._handed.discard(_handed(claimed))
        if written is not None:
            self._on_recorded(written)


def _handed(claimed: Claimed) -> Handed:
    return claimed.secret or claimed.message.id
