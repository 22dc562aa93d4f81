"""Plugins are told what happens to their tenant: from its events, in order, and also what happened while nobody was
there.

One gateway tells at a time, and keeps how far it has come in the tenant's row of event_readers, after each page. So
what is told is told once, or again when a gateway dies in the middle of a page. A tenant whose plugins want to hear of
nothing costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, cast, get_args

from core.errors import StatementRejected, Unavailable
from core.model import SessionChange, SessionState, Status, StatusChange

if TYPE_CHECKING:
    from core.clock import Clock
    from core.event_rows import Event, EventPage
    from core.hooks.dispatch import Hooks
    from core.tenants import Tenants
    from db.event_store import EventStore
    from db.reader_store import ReaderStore

log = logging.getLogger(__name__)

LOOK_ROUND = 5.0
"""Seconds between looks for tenants of whom this gateway was told nothing: another one died, or was not there."""

AT_ONCE = 20
"""Events of a page: so many may be told again after a crash."""

LAST_WORDS = 3.0
"""Seconds for which a gateway that is stopped goes on to tell; the next one, or its next start, tells the rest."""

_RETRY = 0.5
_STATUSES = tuple(f"message.{status}" for status in get_args(Status) if status != "sending")
_STATES = tuple(f"session.{state}" for state in get_args(SessionState))


class Telling:
    """Of one gateway."""

    def __init__(
        self, readers: ReaderStore, events: EventStore, tenants: Tenants, clock: Clock, *, process: int
    ) -> None:
        self._readers, self._events, self._tenants, self._clock = readers, events, tenants, clock
        self._process, self._begun = process, clock.monotonic()
        self._news: set[str] = set()
        self._tellers: dict[str, asyncio.Task[None]] = {}
        self._closing = False

    def heard(self, tenant: str) -> None:
        """Something has happened to the tenant."""
        if self._closing or not _wanted(self._tenants.hooks(tenant)):
            return
        self._news.add(tenant)
        if tenant not in self._tellers:
            self._tellers[tenant] = asyncio.create_task(self._serve(tenant), name=f"plugins of {tenant}")

    async def run(self) -> None:
        """Look for what nobody else has told, for ever."""
        while True:
            try:
                await self._look_round()
            except (Unavailable, StatementRejected) as error:
                log.warning("cannot look for events: %s", error, extra={"action": "telling.database_away"})
            await self._clock.sleep(LOOK_ROUND)

    async def _look_round(self) -> None:
        for tenant in await self._readers.behind():
            if _wanted(self._tenants.hooks(tenant)):
                self.heard(tenant)
            else:
                await self._readers.forget(tenant)

    async def _serve(self, tenant: str) -> None:
        try:
            while tenant in self._news:
                self._news.discard(tenant)
                await self._read(tenant)
        except (Unavailable, StatementRejected) as error:
            log.warning("plugins of %s hear of it later: %s", tenant, error,
                        extra={"action": "telling.database_away", "tenant": tenant})  # fmt: skip
        except Exception:
            log.exception("plugins of %s are told nothing", tenant,
                          extra={"action": "telling.failed", "tenant": tenant})  # fmt: skip
        finally:
            del self._tellers[tenant]

    async def _read(self, tenant: str) -> None:
        """Page by page, until there is nothing more; what happens after that is heard of."""
        hooks = self._tenants.hooks(tenant)
        seq = await self._readers.claim(tenant, self._process, self._clock.monotonic() - self._begun)
        while seq is not None:
            page = await self._events.after(tenant, seq, AT_ONCE, _wanted(hooks))
            seq = await self._tell(hooks, tenant, page, seq)
            ends = seq >= page.last or self._closing
            if not await self._keep(tenant, seq, ends=ends) or ends:
                return

    async def _tell(self, hooks: Hooks, tenant: str, page: EventPage, told: int) -> int:
        """The number up to which was told; `told`: up to where that was so before."""
        for event in page.events:
            if self._closing:
                return told
            if event.type in _STATUSES:
                await hooks.notify("on_status", change=_status(tenant, event))
            else:
                await hooks.notify("on_session", change=_session(tenant, event))
            told = event.seq
        return page.next

    async def _keep(self, tenant: str, seq: int, *, ends: bool) -> bool:
        """Until it is written, or it would be told again."""
        while True:
            try:
                return await self._readers.advance(tenant, self._process, seq, ends=ends)
            except Unavailable as error:
                log.warning("cannot note what was told: %s", error, extra={"action": "telling.database_away"})
            if self._closing:
                return False
            await self._clock.sleep(_RETRY)

    async def close(self) -> None:
        """Tell what has happened; a plugin that is slow hears the rest at the next start."""
        with contextlib.suppress(Unavailable, StatementRejected):
            await self._look_round()
        if self._tellers:
            await asyncio.wait(self._tellers.values(), timeout=LAST_WORDS)
        self._closing = True
        if self._tellers:
            await asyncio.wait(self._tellers.values())


def _wanted(hooks: Hooks) -> tuple[str, ...]:
    """The types of events that plugins here want to hear of."""
    statuses = _STATUSES if hooks.implements("on_status") else ()
    return statuses + (_STATES if hooks.implements("on_session") else ())


def _status(tenant: str, event: Event) -> StatusChange:
    return StatusChange(
        tenant=tenant,
        message_id=event.data["id"],
        to=event.data["to"],
        status=cast("Status", event.type.partition(".")[2]),
        at=event.at,
        cause=event.data.get("cause"),
    )


def _session(tenant: str, event: Event) -> SessionChange:
    state, reason = cast("SessionState", event.type.partition(".")[2]), event.data.get("reason")
    return SessionChange(tenant=tenant, state=state, at=event.at, reason=reason)
