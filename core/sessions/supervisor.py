"""Session processes, kept running: every paired tenant is opened in one of them; what died is started again.

The supervisor lives in a process that never loads the library that speaks to WhatsApp: that library can end its whole
process. Several may run on one database, in gateways and workers; leases see to it that each tenant is open once, and
each supervisor holds its share.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections import deque
from typing import TYPE_CHECKING

from core.errors import StatementRejected, Unavailable
from core.sessions.protocol import DATABASE_AWAY, Close, Logout, Open, Pair, Reconnect
from core.sessions.sharing import Sharing
from core.sessions.suspicion import Suspicion

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from core.clock import Clock
    from core.session_rows import Command, TenantSession
    from core.sessions.child import Child
    from db.session_store import SessionStore

log = logging.getLogger(__name__)

ROUND = 2.0
"""Seconds between two looks round, when nothing happens."""

RESTING = frozenset({"logged_out", "replaced", "banned", "client_outdated"})
"""States that end when somebody does something. A gateway that starts tries once."""

_LAST_WRITE = 1.0
_DIED = "its session process died; it is opened again"
_PAIRING_DIED = "the process that was pairing died; ask for a new code"
_GIVEN_UP = "opening it has ended its process again and again; it rests until POST /api/reconnect"
_STOPPED = "the gateway was stopped"
_HANDED_OVER = "handed over to another process, which opens it"


class Supervisor:
    """Of one gateway or worker."""

    def __init__(  # noqa: PLR0913 - the composition root hands everything over once
        self,
        store: SessionStore,
        clock: Clock,
        start: Callable[[int, Callable[[], None]], Awaitable[Child]],
        is_whatsapp: Callable[[str], bool],
        *,
        process: int,
        per_process: int,
    ) -> None:
        """`start(number, on_report)` starts a session process; `is_whatsapp(tenant)`: it sends through WhatsApp."""
        self._store, self._clock, self._start, self._is_whatsapp = store, clock, start, is_whatsapp
        self._process, self._per_process = process, per_process
        self._numbers = itertools.count(1)
        self._children: dict[int, Child] = {}
        self._news = asyncio.Event()
        self._suspicion = Suspicion(clock)
        self._sharing = Sharing(clock)
        self._commands: deque[Command] = deque()
        self._resting: set[str] = set()
        self._woken: set[str] = set()
        self._closing: set[str] = set()  # told to close, and not closed yet
        self._stopping = self._looked = False

    def wake(self) -> None:
        """Something has happened."""
        self._news.set()

    def forgotten(self, tenant: str) -> None:
        """The tenant's row of auth_creds was deleted: whoever opens the session, sees that."""
        self._woken.add(tenant)
        self.wake()

    async def run(self) -> None:
        """For ever."""
        while True:
            self._news.clear()
            for child in self._children.values():
                child.kill_if_stuck()
            try:
                await self._round()
            except (Unavailable, StatementRejected, OSError) as error:
                log.warning("sessions wait: %s", error, extra={"action": "supervisor.waits"})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ROUND):
                    await self._news.wait()

    async def close(self, within: float) -> None:
        """End all session processes in order, `within` seconds at most. Nobody holds a session then."""
        self._stopping = True
        while running := [child for child in self._children.values() if not child.gone]:
            await asyncio.gather(*(child.stop(within) for child in running))
        with contextlib.suppress(Unavailable, StatementRejected, TimeoutError):
            async with asyncio.timeout(_LAST_WRITE):
                for number in list(self._children):
                    await self._store.release(number, None, _STOPPED)

    async def _round(self) -> None:
        for child in list(self._children.values()):
            await self._hear(child)
            if child.gone:
                await self._bury(child)
        if self._stopping:
            return
        tenants = {row.tenant: row for row in await self._store.tenants() if self._is_whatsapp(row.tenant)}
        self._commands += await self._store.claim_commands(self._process, list(self._children))
        while self._commands:
            await self._carry_out(self._commands[0], tenants.get(self._commands[0].tenant))
            self._commands.popleft()
        for child in self._children.values():
            for tenant in child.tenants - set(tenants) - self._closing:
                self._close(child, tenant)
        # Whoever is open somewhere has found somebody who woke it.
        free = {row.tenant for row in tenants.values() if not row.held}
        self._resting &= free
        self._woken &= {tenant for tenant in free if tenants[tenant].paired}
        await self._look_at_others(tenants.values())
        await self._assign([row for row in tenants.values() if self._wanted(row)])
        self._hand_over_one()
        await self._make_room()
        self._looked = True

    # What children tell

    async def _hear(self, child: Child) -> None:
        while child.closed:
            said = child.closed.popleft()
            child.tenants.discard(said.tenant)
            self._closing.discard(said.tenant)
            child.opening.discard(said.tenant)
            if child.pairs == said.tenant:
                child.leaves = True
                self._resting.discard(said.tenant)
            if said.rests:
                self._resting.add(said.tenant)
        while child.opened:
            self._suspicion.acquit(child.opened.popleft())
        while child.answers:
            said_last = child.answers[0]
            await self._answer(said_last.call, said_last.refused, said_last.detail)
            child.answers.popleft()

    async def _answer(self, call: int, refused: str | None = None, detail: str = "") -> None:
        await self._store.answer(call, {"refused": refused, "detail": detail} if refused else {})

    async def _bury(self, child: Child) -> None:
        """Its tenants are free for another process; those that were just opening are suspects."""
        blameless = child.leaves or child.status == DATABASE_AWAY
        given_up = [] if blameless else self._suspicion.would_condemn(child.opening)
        if given_up:
            await self._store.release(child.number, given_up, _GIVEN_UP)
        await self._store.release(child.number, None, _DIED if child.pairs is None else _PAIRING_DIED)
        for call in child.calls:
            await self._answer(call, "session_process_died", "the session process died meanwhile; try again")
        del self._children[child.number]
        self._closing -= child.tenants
        if child.pairs is not None:
            self._resting.discard(child.pairs)
        if child.status == DATABASE_AWAY:
            self._suspicion.postpone()
        if self._stopping or blameless:
            return
        log.error("session process %d is gone (status %s) with %d tenants", child.pid, child.status, len(child.tenants),
                  extra={"action": "child.gone"})  # fmt: skip
        self._suspicion.accuse(child.opening, useful=child.was_useful)
        for tenant in given_up:
            self._resting.add(tenant)
            log.error("%s: %s", tenant, _GIVEN_UP, extra={"action": "session.given_up", "tenant": tenant})

    # Who is opened where

    def _wanted(self, row: TenantSession) -> bool:
        if any(row.tenant in child.tenants or child.is_pairing(row.tenant) for child in self._children.values()):
            return False
        if not row.paired or row.held:
            return False
        if row.tenant in self._woken:
            return True
        return row.tenant not in self._resting and (row.state not in RESTING or not self._looked)

    async def _look_at_others(self, rows: Collection[TenantSession]) -> None:
        """What is everybody's share."""
        supervisors = {*await self._store.supervisors(), self._process}
        load = [row for row in rows if row.paired and (row.held or row.state not in RESTING)]
        free = [row.tenant for row in load if not row.held]
        self._sharing.look(free, len(load), supervisors)

    @property
    def _held(self) -> int:
        return sum(len(child.tenants - self._closing) for child in self._children.values() if not child.gone)

    def _hand_over_one(self) -> None:
        """One at a time: the next one when this one is closed."""
        if self._closing or not self._sharing.gives(self._held):
            return
        homes = {tenant: child for child in self._children.values() if not child.gone
                 for tenant in child.tenants - child.opening}  # fmt: skip
        if homes:
            tenant = max(homes)
            log.info("%s is handed over", tenant, extra={"action": "session.handed_over", "tenant": tenant})
            self._sharing.given(tenant)
            self._close(homes[tenant], tenant, _HANDED_OVER)

    async def _make_room(self) -> None:
        """A process takes seconds to start, which nobody shall wait for who is handed over."""
        if self._sharing.wants(self._held) and self._with_room() is None and self._suspicion.may_start:
            await self._new_child()

    def _close(self, child: Child, tenant: str, *why: str) -> None:
        self._closing.add(tenant)
        child.tell(Close(tenant, *why))

    async def _assign(self, rows: Collection[TenantSession]) -> None:
        for row in rows:
            if row.tenant not in self._woken and not self._sharing.takes(row.tenant, self._held):
                continue
            suspect = self._suspicion.is_suspect(row.tenant)
            child = None if suspect else self._with_room()
            if child is None:
                if self._stopping or not self._suspicion.may_start:
                    continue
                child = await self._new_child()
            self._woken.discard(row.tenant)
            self._sharing.taken(row.tenant)
            child.tell(Open(row.tenant))

    def _with_room(self) -> Child | None:
        for child in self._children.values():
            alone = child.pairs is not None or any(map(self._suspicion.is_suspect, child.tenants))
            if not child.gone and not alone and len(child.tenants) < self._per_process:
                return child
        return None

    async def _new_child(self) -> Child:
        # Numbers of gateways are random: those of its children follow it.
        number = (self._process + next(self._numbers)) % (2**31 - 1)
        self._children[number] = child = await self._start(number, self.wake)
        log.info("session process %d started", child.pid, extra={"action": "child.started"})
        return child

    # Commands

    async def _carry_out(self, command: Command, row: TenantSession | None) -> None:
        if row is None:
            return await self._answer(command.id, "no_such_session", "the tenant does not send through WhatsApp")
        if command.kind == "pair":
            return await self._pair(command, row)
        for child in self._children.values():
            if row.tenant in child.tenants and not child.gone:
                order = Logout if command.kind == "logout" else Reconnect
                return child.tell(order(row.tenant, command.id))
        if not row.paired:
            return await self._answer(command.id, "not_paired", "no WhatsApp number is linked")
        if command.kind == "logout":
            why = "the session is not connected, and WhatsApp must be told; reconnect first"
            return await self._answer(command.id, "not_connected", why)
        self._resting.discard(row.tenant)
        self._woken.add(row.tenant)
        self._suspicion.forget(row.tenant)
        return await self._answer(command.id)

    async def _pair(self, command: Command, row: TenantSession) -> None:
        if row.paired:
            return await self._answer(command.id, "already_paired", "a WhatsApp number is linked; log out first")
        child = next((child for child in self._children.values() if child.is_pairing(row.tenant)), None)
        child = child or await self._new_child()
        child.tell(Pair(row.tenant, command.arguments.get("number"), bool(command.arguments.get("force"))))
        return await self._answer(command.id)
