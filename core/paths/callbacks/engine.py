"""Which endpoints there are, and which of them have something to be sent."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from core.errors import StatementRejected, Unavailable
from core.outbound_addresses import AddressGuard
from core.paths.callbacks.endpoint import Line, Tools
from core.paths.callbacks.posting import open_session

if TYPE_CHECKING:
    from core.clock import Clock
    from core.settings import Settings
    from core.tenants import Tenants
    from db.callback_store import CallbackStore
    from db.event_store import EventStore

    Where = tuple[str, str]

log = logging.getLogger(__name__)

LOOK_EVERY = 2.0
"""Seconds between two looks for what is due, and for what nobody announced."""

AT_ONCE = 3
"""Statements about callbacks that are under way at once: most of the pool's connections are for messages."""

LAST_WORDS = 3.0
"""Seconds that posts under way have at the end."""


class Callbacks:
    """Those of one gateway. They share the work with those of other gateways on the same database."""

    def __init__(  # noqa: PLR0913 - the composition root hands everything over once
        self,
        store: CallbackStore,
        events: EventStore,
        settings: Settings,
        tenants: Tenants,
        clock: Clock,
        *,
        process: int,
    ) -> None:
        """`process`: the number by which others see that this gateway lives."""
        self._store, self._events, self._settings, self._tenants = store, events, settings, tenants
        self._clock, self._process, self._born = clock, process, clock.monotonic()
        self._lines: dict[str, dict[str, Line]] = {}
        self._tools: Tools | None = None
        self._closed = False

    async def start(self) -> None:
        """Endpoints that are new begin here. Raises Unavailable."""
        endpoints = self._endpoints()
        if endpoints:
            await self._store.begin(endpoints, self._age())

    async def run(self) -> None:
        """For ever."""
        async with open_session(AddressGuard(self._settings.callbacks.allow)) as session:
            turns = asyncio.Semaphore(AT_ONCE)
            self._tools = Tools(self._store, self._events, self._clock, session, turns, self._process, self._age)
            try:
                while True:
                    await self._look()
                    await self._clock.sleep(LOOK_EVERY)
            finally:
                await self.close()

    def heard(self, tenant: str) -> None:
        """Something has happened to the tenant."""
        if tenant in self._lines or (self._settings.tenant(tenant).callbacks and tenant in self._tenants.known()):
            for line in self._lines_of(tenant).values():
                line.wake()

    async def close(self) -> None:
        """Post nothing more; what is under way may end."""
        self._closed = True
        lines = [line for lines in self._lines.values() for line in lines.values()]
        await asyncio.gather(*(line.close(LAST_WORDS) for line in lines))

    def _age(self) -> float:
        """Seconds since this gateway was made: whatever happened in them is told to endpoints that it made known."""
        return self._clock.monotonic() - self._born

    async def _look(self) -> None:
        endpoints = self._endpoints()
        self._forget_lines({tenant for tenant, _ in endpoints})
        if not endpoints or self._closed:
            return
        try:
            due = await self._store.due(endpoints)
        except (Unavailable, StatementRejected) as error:
            log.warning("callbacks wait: %s", error, extra={"action": "callback.database_away"})
            return
        for tenant, name in due:
            if line := self._lines_of(tenant).get(name):
                line.wake()

    def _endpoints(self) -> list[Where]:
        """Those of all tenants that have a key."""
        if not self._settings.has_callbacks:
            return []
        return [
            (tenant, endpoint.name)
            for tenant in self._tenants.known()
            for endpoint in self._settings.tenant(tenant).callbacks
        ]

    def _lines_of(self, tenant: str) -> dict[str, Line]:
        """Name -> line. None before `run`, and none any more after `close`."""
        if self._tools is None or self._closed:
            return {}
        if tenant not in self._lines:
            endpoints = self._settings.tenant(tenant).callbacks
            self._lines[tenant] = {one.name: Line(self._tools, tenant, one) for one in endpoints}
        return self._lines[tenant]

    def _forget_lines(self, tenants: set[str]) -> None:
        """Removed tenants are sent nothing more."""
        for tenant in self._lines.keys() - tenants:
            for line in self._lines.pop(tenant).values():
                line.stop()
