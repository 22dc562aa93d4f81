"""What runs in a session process: some tenants' sessions, the sender of their messages, and their leases."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, assert_never

from core.errors import SendFailed, StatementRejected, Unavailable
from core.failpoints import reach
from core.paths.sender import Sender
from core.sessions.intake import Intake
from core.sessions.pairing import PairingSession
from core.sessions.protocol import Alive, Answered, Begin, Close, Closed, Logout, Open, Opened, Opening, Pair, Reconnect
from core.sessions.room import Room, Turns
from core.sessions.session import Session
from core.sessions.standing import until_written
from core.transport.base import SessionStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractAsyncContextManager
    from typing import Any

    from core.clock import Clock
    from core.model import Outgoing
    from core.session_rows import Lease
    from core.sessions.logins import Logins
    from core.sessions.protocol import Orders, Report
    from core.sessions.surroundings import OnEvent
    from core.transport.base import Sent, Transport
    from core.transport.whatsapp.client import Client
    from db.session_store import SessionStore
    from db.store import Store

log = logging.getLogger(__name__)

LEASE = 15.0
"""Seconds for which a lease is good; a process that stands still for longer has lost its tenants."""

RENEW_EVERY = 3.0
ALIVE_EVERY = 1.0

IN_FLIGHT = 2.5
"""Seconds that messages on their way have at the end. WhatsApp may take 75 for its answer, but what has arrived must be
written down too."""

LONGEST_SEND = 85.0
"""Seconds after which a session is handed over whatever is in flight: WhatsApp's answer takes 75 at most."""

_GONE = SessionStatus("disconnected", "not held by this process")
_STOPPED, _RESTARTED = "the gateway was stopped", "its session process is started again"
_CLOSED = "closed by the gateway"


class Worker:
    """One session process. It is the Transport of its own Sender, and the Surroundings of its sessions."""

    name = "whatsapp"

    def __init__(  # noqa: PLR0913 - the composition root hands everything over once
        self,
        store: Store,
        sessions: SessionStore,
        clock: Clock,
        begin: Begin,
        logins: Logins,
        *,
        connect: Callable[[str, str | None, int, OnEvent], Client],
        report: Callable[[Report], None],
        is_listening: Callable[[], bool],
    ) -> None:
        """`connect(tenant, device, fence, on_event)` makes a client; `report` tells the supervisor; `is_listening()`:
        the database is there."""
        self.process, self.sandbox = begin.process, begin.sandbox is not None
        self.timelock_pause = begin.timelock_pause
        self.clock, self.store, self.logins, self.client, self._outbox = clock, sessions, logins, connect, store
        self.room = Room(clock, sessions.free_connections)
        self.turn: AbstractAsyncContextManager[None, None] = Turns(clock, self.room)
        self.intake = Intake(store, sessions, clock, process=self.process)
        self._report, self._is_listening = report, is_listening
        self._sessions: dict[str, Session] = {}
        self._taking: dict[str, asyncio.Task[None]] = {}
        self._pairing: PairingSession | None = None
        self._parting: set[str] = set()  # handed over as soon as their message in flight is recorded
        self._away = self._leaving = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.ended = asyncio.Event()
        self.sender = Sender(
            store, clock, self._transport_of,
            process=self.process, may_send=lambda: is_listening() and self.room.take(),
            on_recorded=lambda _: None,  # events tell the gateways
            secret=clock.secret, known_only=self._known_only,
        )  # fmt: skip

    # Orders

    def obey(self, order: Orders) -> None:
        """Begin to carry an order out."""
        match order:
            case Open(tenant):
                self._taking[tenant] = self._go(self._open(tenant))
            case Close(tenant, why):
                self._go(self._hand_over(tenant, why))
            case Pair(tenant, number, force) if self._pairing is None:
                self._pairing = PairingSession(tenant, self, force=force)
                self._go(self._pair(self._pairing, number))
            case Pair(_, number, force):
                if self._pairing is not None:
                    self._pairing.force |= force
                if self._pairing is not None and number is not None:
                    self._go(self._pairing.show_code(number))
            case Logout(tenant, call):
                self._go(self._logout(tenant, call))
            case Reconnect(tenant, call):
                self._reconnect(tenant, call)
            case Begin():
                raise ValueError("a process begins once")
            case _:
                assert_never(order)

    def _go(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the session process ends", exc_info=error, extra={"action": "worker.crashed"})
            self.ended.set()

    async def _open(self, tenant: str) -> None:
        lease = await self._lease(tenant)
        reach("leased")
        if lease is not None:
            await self._settle(tenant)
        if lease is None or self._leaving:
            self._report(Closed(tenant, rests=False))
        elif tenant not in self._sessions:
            self._sessions[tenant] = session = Session(lease, self)
            if not self._away:
                session.open()

    async def _settle(self, tenant: str) -> None:
        """What an earlier holder had on its way: nobody else can send for the tenant now. Housekeeping would do it a
        little later."""
        try:
            await self._outbox.settle(0.0, tenant)
        except (Unavailable, StatementRejected) as error:
            log.warning("cannot settle: %s", error, extra={"action": "worker.not_settled", "tenant": tenant})

    async def _lease(self, tenant: str) -> Lease | None:
        while True:
            try:
                return next(iter(await self.store.lease(self.process, [tenant], LEASE)), None)
            except Unavailable as error:
                log.warning("cannot take a lease: %s", error, extra={"action": "worker.database_away"})
                await self.clock.sleep(ALIVE_EVERY)

    async def _pair(self, pairing: PairingSession, number: str | None) -> None:
        if lease := await self._lease(pairing.tenant):
            pairing.fence = lease.fence
            await pairing.run(number)
            await self._release(pairing.tenant, None)
        # Nobody has to wait for the end of this process to begin anew.
        self._report(Closed(pairing.tenant, rests=False))
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

    def forgotten(self, tenant: str) -> None:
        """The tenant's row of auth_creds was deleted."""
        if session := self._sessions.get(tenant):
            self._go(session.forget())

    def _reconnect(self, tenant: str, call: int) -> None:
        if session := self._sessions.get(tenant):
            session.open()
            self._report(Answered(call))
        else:
            self._report(Answered(call, "not_connected", "the session is just being opened or closed; try again"))

    # For as long as it lives

    async def renew_leases(self) -> None:
        """For ever: hold what is held. What was lost is closed at once: somebody else opens it."""
        while True:
            await self.clock.sleep(RENEW_EVERY)
            if self._is_listening():
                await self._renew()

    async def _renew(self) -> None:
        asked = set(self._sessions)
        pairing = {self._pairing.tenant} if self._pairing is not None else set()
        if not asked | pairing:
            return
        try:
            held = {lease.tenant: lease for lease in await self.store.lease(self.process, asked | pairing, LEASE)}
        except (Unavailable, StatementRejected) as error:
            log.warning("leases wait: %s", error, extra={"action": "worker.database_away"})
            return
        for tenant in asked - held.keys():
            self.lost(tenant)
        for tenant in asked & held.keys():
            # Ours again after it was another's: the client that was opened before is refused whatever it writes.
            if (session := self._sessions.get(tenant)) is not None and session.fence != held[tenant].fence:
                session.open(held[tenant])

    async def begun(self) -> None:
        """Wait until this process is known to live: nobody respects the leases of one that is not."""
        while not self._is_listening():
            await self.clock.sleep(0.01)

    async def show_life(self) -> None:
        """For ever: the supervisor ends a process that is silent."""
        while True:
            self._report(Alive())
            await self.clock.sleep(ALIVE_EVERY)

    def database_lost(self) -> None:
        """With a socket open, what comes in now would be lost."""
        self._away = True
        for session in self._sessions.values():
            session.suspend()

    async def database_back(self) -> None:
        """Take the leases again, and connect what is still ours. Raises Unavailable."""
        if self._away:
            self.sender.hold()
        asked = list(self._sessions)
        leases = {lease.tenant: lease for lease in await self.store.lease(self.process, asked, LEASE)}
        self._away = False
        for tenant, session in self._sessions.items():
            if tenant in leases or tenant not in asked:  # who came since then has just taken the lease
                session.open(leases.get(tenant))
            else:
                self._go(self._let_go(tenant, rests=False))

    async def close(self) -> None:
        """Stop claiming; what is in flight is sent and recorded; disconnect; what has arrived is written; let go."""
        self._leaving = True
        sending = asyncio.create_task(self.sender.close())
        await asyncio.wait([sending], timeout=IN_FLIGHT)
        # What is still on its way loses its socket now, and is recorded as unknown.
        closing = [session.close() for session in self._sessions.values()]
        await asyncio.gather(*closing, return_exceptions=True)
        await asyncio.wait([sending], timeout=IN_FLIGHT)
        await self.store.release(self.process, None, _RESTARTED if self.ended.is_set() else _STOPPED)
        reach("released")

    async def _hand_over(self, tenant: str, why: str) -> None:
        """Let go when what is in flight has its answer and is recorded; nothing more is claimed meanwhile."""
        self._parting.add(tenant)
        try:
            if (taking := self._taking.get(tenant)) is not None:
                await asyncio.wait([taking])  # or a session whose lease is still on its way would stay
            finishing = asyncio.create_task(self.sender.finish(tenant))
            await asyncio.wait([finishing], timeout=LONGEST_SEND)
            await self._let_go(tenant, rests=False, why=why)
        finally:
            self._parting.discard(tenant)

    async def _let_go(self, tenant: str, *, rests: bool, why: str = _CLOSED) -> None:
        """Close and release, and only then tell the supervisor, who may give it to another process at once."""
        if (session := self._sessions.pop(tenant, None)) is not None:
            await session.close()
            await self._release(tenant, None if rests else why)
            self._report(Closed(tenant, rests))

    async def _release(self, tenant: str, why: str | None) -> None:
        await until_written(lambda: self.store.release(self.process, [tenant], why), self.clock, tenant)
        reach("released")

    # Surroundings of a session

    def opening(self, tenant: str, *, over: bool) -> None:
        self._report(Opened(tenant) if over else Opening(tenant))

    def usable(self, tenant: str) -> None:
        self.sender.resume(tenant)

    def rests(self, tenant: str) -> None:
        self._go(self._let_go(tenant, rests=True))

    def lost(self, tenant: str) -> None:
        log.warning("%s is held by another process now", tenant,
                    extra={"action": "session.lease_lost", "tenant": tenant})  # fmt: skip
        self._go(self._let_go(tenant, rests=False))

    def give_up(self, why: str) -> None:
        log.error("the session process ends: %s", why, extra={"action": "worker.given_up"})
        self.ended.set()

    # The transport of its sender

    def _transport_of(self, tenant: str) -> Transport | None:
        session = self._sessions.get(tenant)
        return self if session is not None and session.ready and tenant not in self._parting else None

    def status(self, tenant: str) -> SessionStatus:
        """As this process knows it."""
        session = self._sessions.get(tenant)
        return session.status if session else _GONE

    async def send(self, message: Outgoing, secret: bytes | None = None) -> Sent:
        """Raises SendFailed."""
        if (session := self._sessions.get(message.tenant)) is None:
            raise SendFailed("not_connected", retry=True)
        return await session.send(message, secret)

    def _known_only(self, tenant: str) -> bool:
        session = self._sessions.get(tenant)
        return session is not None and session.known_only

    async def typing(self, tenant: str, to: str) -> None:
        """Best effort."""
        if session := self._sessions.get(tenant):
            await session.typing(to)
