"""Session processes, kept running: every paired tenant is opened in one of them; what died is started again.

The supervisor lives in the gateway's process, which never loads the library that speaks to WhatsApp: that library can
end its whole process. Several gateways may run supervisors on one database; leases see to it that each tenant is open
once.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter
from typing import TYPE_CHECKING

from core.errors import StatementRejected, Unavailable
from core.sessions.protocol import Close, Logout, Open, Pair, Reconnect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.clock import Clock
    from core.session_rows import Command, TenantSession
    from core.sessions.child import Child
    from db.session_store import SessionStore

log = logging.getLogger(__name__)

ROUND = 2.0
"""Seconds between two looks round, when nothing happens."""

RESTING = frozenset({"logged_out", "replaced", "banned", "client_outdated"})
"""States that end when somebody does something. A gateway that starts tries once."""

SUSPECT, GIVEN_UP = 2, 4
"""After so many deaths of a process while a tenant was opening, it is opened in a process of its own; not at all."""

_DIED = "its session process died; it is opened again"


class Supervisor:
    """Of one gateway."""

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
        self._ours: set[int] = set()
        self._news = asyncio.Event()
        self._deaths: Counter[str] = Counter()
        self._resting: set[str] = set()
        self._woken: set[str] = set()
        self._stopping = self._looked = False

    def is_ours(self, process: int) -> bool:
        """Whether this supervisor has started the session process of this number, dead or alive."""
        return process in self._ours

    def wake(self) -> None:
        """Something has happened."""
        self._news.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            self._news.clear()
            try:
                await self._round()
            except (Unavailable, StatementRejected) as error:
                log.warning("sessions wait: %s", error, extra={"action": "supervisor.database_away"})
            try:
                async with asyncio.timeout(ROUND):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def close(self, within: float) -> None:
        """End all session processes in order, `within` seconds at most."""
        self._stopping = True
        await asyncio.gather(*(child.stop(within) for child in self._children.values()))

    async def _round(self) -> None:
        for child in list(self._children.values()):
            child.kill_if_stuck()
            await self._hear(child)
            if child.gone:
                await self._bury(child)
        if self._stopping:
            return
        tenants = {row.tenant: row for row in await self._store.tenants() if self._is_whatsapp(row.tenant)}
        for command in await self._store.claim_commands(self._process, list(self._children)):
            await self._carry_out(command, tenants.get(command.tenant))
        for child in self._children.values():
            for tenant in child.tenants - set(tenants):
                child.tell(Close(tenant))
        await self._assign([row for row in tenants.values() if self._wanted(row)])
        self._looked = True

    async def _hear(self, child: Child) -> None:
        self._resting |= child.rested
        child.rested.clear()
        while child.answers:
            said = child.answers[0]
            refusal = {"refused": said.refused, "detail": said.detail} if said.refused else {}
            await self._store.answer(said.call, refusal)
            child.answers.pop(0)

    async def _bury(self, child: Child) -> None:
        """Its tenants are free for another process; those that were just opening are suspects."""
        await self._store.release(child.number, None, _DIED)
        del self._children[child.number]
        if child.pairs is not None:
            self._resting.discard(child.pairs)
            return
        self._deaths.update(child.opening)
        for tenant in child.opening:
            if self._deaths[tenant] >= GIVEN_UP:
                self._resting.add(tenant)
                log.error("opening %s has ended its process %d times: it rests until POST /api/reconnect", tenant,
                          GIVEN_UP, extra={"action": "session.given_up", "tenant": tenant})  # fmt: skip
        log.error("session process %d is gone (status %s) with %d tenants", child.pid, child.status, len(child.tenants),
                  extra={"action": "child.gone"})  # fmt: skip

    # Who is opened where

    def _wanted(self, row: TenantSession) -> bool:
        if any(row.tenant in child.tenants or row.tenant == child.pairs for child in self._children.values()):
            return False
        if not row.paired or row.held:
            return False
        if row.tenant in self._woken:
            return True
        return row.tenant not in self._resting and (row.state not in RESTING or not self._looked)

    async def _assign(self, rows: list[TenantSession]) -> None:
        for row in rows:
            self._woken.discard(row.tenant)
            alone = self._deaths[row.tenant] >= SUSPECT
            child = (None if alone else self._with_room()) or await self._new_child()
            child.tell(Open(row.tenant))

    def _with_room(self) -> Child | None:
        for child in self._children.values():
            suspect = any(self._deaths[tenant] >= SUSPECT for tenant in child.tenants)
            if not child.gone and child.pairs is None and not suspect and len(child.tenants) < self._per_process:
                return child
        return None

    async def _new_child(self) -> Child:
        # Numbers of gateways are random: those of its children follow it.
        number = (self._process + next(self._numbers)) % (2**31 - 1)
        self._ours.add(number)
        self._children[number] = child = await self._start(number, self.wake)
        log.info("session process %d started", child.pid, extra={"action": "child.started"})
        return child

    # Commands

    async def _carry_out(self, command: Command, row: TenantSession | None) -> None:
        if row is None:
            return await self._refuse(command, "no_such_session", "the tenant does not send through WhatsApp")
        if command.kind == "pair":
            return await self._pair(command, row)
        for child in self._children.values():
            if row.tenant in child.tenants:
                order = Logout if command.kind == "logout" else Reconnect
                return child.tell(order(row.tenant, command.id))
        if not row.paired:
            return await self._refuse(command, "not_paired", "no WhatsApp number is linked")
        if command.kind == "logout":
            why = "the session is not connected, and WhatsApp must be told; reconnect first"
            return await self._refuse(command, "not_connected", why)
        self._resting.discard(row.tenant)
        self._woken.add(row.tenant)
        self._deaths.pop(row.tenant, None)
        return await self._store.answer(command.id, {})

    async def _pair(self, command: Command, row: TenantSession) -> None:
        if row.paired:
            return await self._refuse(command, "already_paired", "a WhatsApp number is linked; log out first")
        child = next((child for child in self._children.values() if child.pairs == row.tenant), None)
        child = child or await self._new_child()
        child.tell(Pair(row.tenant, command.arguments.get("number")))
        return await self._store.answer(command.id, {})

    async def _refuse(self, command: Command, code: str, detail: str) -> None:
        await self._store.answer(command.id, {"refused": code, "detail": detail})
