"""What runs in a session process: some tenants' sessions, the sender of their messages, and their leases."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, assert_never

from core.errors import SendFailed, Unavailable
from core.paths.sender import Sender
from core.sessions.intake import Intake
from core.sessions.pairing import PairingSession
from core.sessions.protocol import Alive, Answered, Begin, Close, Closed, Logout, Open, Opened, Opening, Pair, Reconnect
from core.sessions.session import Session
from core.transport.base import SessionStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine
    from typing import Any

    from core.clock import Clock
    from core.model import Outgoing, StatusChange
    from core.session_rows import Lease
    from core.sessions.protocol import Orders, Report
    from core.sessions.session import OnEvent
    from core.transport.base import Sent, Transport
    from core.transport.whatsapp.client import Client
    from db.session_store import SessionStore
    from db.store import Store

log = logging.getLogger(__name__)

LEASE = 15.0
"""Seconds for which a lease is good; a process that stands still for longer has lost its tenants."""

RENEW_EVERY = 3.0
ALIVE_EVERY = 1.0

_GONE = SessionStatus("disconnected", "not held by this process")


class Worker:
    """One session process. It is the Transport of its own Sender, and the Surroundings of its sessions."""

    name = "whatsapp"

    def __init__(  # noqa: PLR0913 - the composition root hands everything over once
        self,
        store: Store,
        sessions: SessionStore,
        clock: Clock,
        begin: Begin,
        *,
        connect: Callable[[str, str | None, OnEvent], Client],
        report: Callable[[Report], None],
        is_listening: Callable[[], bool],
    ) -> None:
        """`connect(tenant, device, on_event)` makes a client; `report` tells the supervisor; `is_listening()`: the
        database is there."""
        self.process, self.sandbox = begin.process, begin.sandbox is not None
        self.clock, self.store, self.client = clock, sessions, connect
        self.turn = asyncio.Lock()
        self.intake = Intake(store, sessions, clock, process=self.process)
        self._report, self._is_listening = report, is_listening
        self._sessions: dict[str, Session] = {}
        self._pairing: PairingSession | None = None
        self._was_away = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.ended = asyncio.Event()
        self.sender = Sender(
            store, clock, self._transport_of,
            process=self.process, may_send=is_listening, on_recorded=self._recorded,
        )  # fmt: skip

    # Orders

    def obey(self, order: Orders) -> None:
        """Begin to carry an order out."""
        match order:
            case Open(tenant):
                self._go(self._open([tenant]))
            case Close(tenant):
                self._go(self._rest(tenant))
            case Pair(tenant, number):
                self._go(self._pair(tenant, number))
            case Logout(tenant, call):
                self._go(self._logout(tenant, call))
            case Reconnect(tenant, call):
                self._reconnect(tenant, call)
            case Begin():
                raise ValueError("a process begins once")
            case _:
                assert_never(order)

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the session process ends", exc_info=error, extra={"action": "worker.crashed"})
            self.ended.set()

    async def _open(self, tenants: Collection[str]) -> None:
        leases = {lease.tenant: lease for lease in await self._lease(tenants)}
        for tenant in tenants:
            if (lease := leases.get(tenant)) is None:
                self._report(Closed(tenant, rests=False))
            elif tenant not in self._sessions:
                self._sessions[tenant] = Session(lease, self)
                self._sessions[tenant].open()

    async def _lease(self, tenants: Collection[str]) -> list[Lease]:
        while True:
            try:
                return await self.store.lease(self.process, list(tenants), LEASE)
            except Unavailable as error:
                log.warning("cannot take leases: %s", error, extra={"action": "worker.database_away"})
                await self.clock.sleep(ALIVE_EVERY)

    async def _pair(self, tenant: str, number: str | None) -> None:
        if self._pairing is not None:
            if number is not None:
                await self._pairing.show_code(number)
            return
        if await self._lease([tenant]):
            self._pairing = PairingSession(tenant, self)
            await self._pairing.run(number)
        self.ended.set()

    async def _logout(self, tenant: str, call: int) -> None:
        session = self._sessions.get(tenant)
        if session is None:
            return self._report(Answered(call, "not_connected", "the session is not open"))
        try:
            await session.logout()
        except SendFailed as error:
            return self._report(Answered(call, error.cause, "WhatsApp could not be told; try again when connected"))
        return self._report(Answered(call))

    def _reconnect(self, tenant: str, call: int) -> None:
        if session := self._sessions.get(tenant):
            session.open()
            self._report(Answered(call))
        else:
            self._report(Answered(call, "not_connected", "the session is not open"))

    # For as long as it lives

    async def renew_leases(self) -> None:
        """For ever: hold what is held. What was lost is closed at once: somebody else opens it."""
        while True:
            await self.clock.sleep(RENEW_EVERY)
            if not self._sessions or not self._is_listening():
                continue
            try:
                held = {lease.tenant for lease in await self.store.lease(self.process, list(self._sessions), LEASE)}
            except Unavailable:
                continue
            for tenant in set(self._sessions) - held:
                log.warning("%s is held by another process now", tenant,
                            extra={"action": "session.lease_lost", "tenant": tenant})  # fmt: skip
                await self._let_go(tenant, rests=False)

    async def show_life(self) -> None:
        """For ever: the supervisor ends a process that is silent."""
        while True:
            self._report(Alive())
            await self.clock.sleep(ALIVE_EVERY)

    def database_lost(self) -> None:
        """With a socket open, what comes in now would be lost."""
        self._was_away = True
        for session in self._sessions.values():
            session.suspend()

    async def database_back(self) -> None:
        """Take the leases again, and connect what is still ours. Raises Unavailable."""
        if self._was_away:
            self.sender.hold()
        leases = {lease.tenant: lease for lease in await self.store.lease(self.process, list(self._sessions), LEASE)}
        for tenant, session in list(self._sessions.items()):
            if lease := leases.get(tenant):
                session.open(lease)
            else:
                await self._let_go(tenant, rests=False)

    async def close(self) -> None:
        """Stop claiming; what is in flight is sent and recorded; disconnect; what has arrived is written; let go."""
        await self.sender.close()
        await asyncio.gather(*(session.close() for session in self._sessions.values()))
        await self.store.release(self.process, None, "the gateway was stopped")

    async def _let_go(self, tenant: str, *, rests: bool) -> None:
        session = self._sessions.pop(tenant)
        await session.close()
        self._report(Closed(tenant, rests))

    # Surroundings of a session

    def opening(self, tenant: str, *, over: bool) -> None:
        self._report(Opened(tenant) if over else Opening(tenant))

    def usable(self, tenant: str) -> None:
        self.sender.wake(tenant)

    def rests(self, tenant: str) -> None:
        self._go(self._rest(tenant))

    async def _rest(self, tenant: str) -> None:
        if tenant in self._sessions:
            await self._let_go(tenant, rests=True)
            await self.store.release(self.process, [tenant], "")

    # The transport of its sender

    def _transport_of(self, tenant: str) -> Transport | None:
        session = self._sessions.get(tenant)
        return self if session is not None and session.ready else None

    def status(self, tenant: str) -> SessionStatus:
        """As this process knows it."""
        session = self._sessions.get(tenant)
        return session.status if session else _GONE

    async def send(self, message: Outgoing) -> Sent:
        """Raises SendFailed."""
        if (session := self._sessions.get(message.tenant)) is None:
            raise SendFailed("not_connected", retry=True)
        return await session.send(message)

    async def typing(self, tenant: str, to: str) -> None:
        """Best effort."""
        if session := self._sessions.get(tenant):
            await session.typing(to)

    def _recorded(self, change: StatusChange, wa_id: str | None) -> None:
        if wa_id is not None:
            self._go(self.intake.sent(change.tenant, wa_id))
