"""The composition root: builds everything, owns the tasks and the order of shutdown.

Gateway.open      database, plugins, paths: enough for a command that does one thing
Gateway.serve     the listener, the sender, the receiver, housekeeping and HTTP, until told to stop
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from core.building import Ground, Stores, build_housekeeping, build_news, build_way_out
from core.capabilities import PluginData, PluginOptOuts, PluginSend
from core.clock import Clock
from core.hearing import Hearers, Hearing
from core.hooks.gateway import Gateway as PluginGateway
from core.hooks.watchdog import Watchdog
from core.paths.receiver import Receiver
from core.services import Services
from core.sessions.founding import new_number, new_supervisor, signs_of_life
from core.sessions.logins import bind_logins
from core.sessions.remote import RemoteSessions
from core.tenants import Tenants
from core.transport.dry_run import DryRun
from core.web import Runner, make_app, spare_the_collector
from db.callback_store import CallbackStore
from db.database import Database
from db.event_store import EventStore
from db.listen import Listener
from db.login_store import LoginStore
from db.migrate import migrate
from db.opt_out_store import OptOutStore
from db.reader_store import ReaderStore
from db.session_store import SessionStore
from db.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from typing import Any

    from core.hooks.registry import Plugins
    from core.model import Outgoing, Principal, StatusChange
    from core.sessions.loopback import Loopback
    from core.settings import Settings
    from core.transport.base import SessionStatus, Transport

log = logging.getLogger(__name__)

_SHUTDOWN, _SESSIONS_SHUTDOWN, _LAST_SHARE = 9.0, 7.0, 3.5
"""Seconds for all that is under way to end; of these for session processes, and kept for plugins and callbacks."""


class Gateway:
    """One process's gateway. Make it with `open`."""

    def __init__(
        self,
        settings: Settings,
        plugins: Plugins,
        database: Database,
        http: aiohttp.ClientSession,
        loopback: Loopback | None,
    ) -> None:
        self.settings, self.plugins, self.database = settings, plugins, database
        self.clock, self.process = Clock(), new_number()
        self._http, self._stores = http, _stores(database)
        self.store, self.opt_outs = self._stores.messages, self._stores.opt_outs
        self.sessions = RemoteSessions(
            self._stores.sessions,
            self.clock,
            lambda *rows: self.hearing.session_changed(*rows),  # noqa: PLW0108 - it is made later
            sandbox=loopback is not None,
        )
        self.dry_run = DryRun(self.clock)
        self.tenants = Tenants(
            self.store, settings, plugins, self._for_plugin, self.clock, hears=lambda: self.listener.connected
        )
        self.supervisor = new_supervisor(
            self._stores.sessions, self.clock, settings, loopback, url=database.url, process=self.process
        )
        self._build_paths()
        self.hearing = self._hearing()
        self.listener = Listener(
            database.url,
            self.hearing.channels,
            on_connected=self.hearing.listening,
            session_sql=signs_of_life(self.process),
        )
        self._stopping = self._serving = False
        self._fresh: set[str] = set()  # tenants of whose new messages nobody has been told yet

    def _build_paths(self) -> None:
        ground = Ground(
            stores=self._stores,
            settings=self.settings,
            tenants=self.tenants,
            clock=self.clock,
            process=self.process,
        )
        self.news = build_news(ground)
        self.way_out = build_way_out(
            ground,
            self.news.statuses,
            transport_of=self.transport_of,
            session_of=self.session_of,
            is_listening=lambda: self.listener.connected,
            on_admitted=self._admitted,
        )
        self.receiver = Receiver(self.store, self.clock, self.tenants, self.way_out.admission, process=self.process)
        self.housekeeping = build_housekeeping(ground, self.news.statuses, self.way_out.batcher)

    def _hearing(self) -> Hearing:
        return Hearing(
            Hearers(
                tenants=self.tenants,
                batcher=self.way_out.batcher,
                housekeeping=self.housekeeping,
                sender=self.way_out.sender,
                receiver=self.receiver,
                sessions=self.sessions,
                supervisor=self.supervisor,
                happened=self.news.heard,
            )
        )

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, settings: Settings, plugins: Plugins, url: str, loopback: Loopback | None = None
    ) -> AsyncIterator[Gateway]:
        """Connect, bring the schema up to date, build. `loopback`: the sandbox that stands for WhatsApp. Raises
        DatabaseUnavailable, CommandError or ConfigError."""
        database = await Database.open(url)
        try:
            for name in await migrate(database):
                log.info("schema: %s applied", name, extra={"action": "database.migrated"})
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
                gateway = cls(settings, plugins, database, http, loopback)
                await gateway.sessions.load()
                yield gateway
        finally:
            await database.close()

    def services(self) -> Services:
        """What a door is handed."""
        return Services(
            settings=self.settings,
            store=self.store,
            opt_outs=self.opt_outs,
            tenants=self.tenants,
            admission=self.way_out.admission,
            outbound=self.way_out.outbound,
            clock=self.clock,
            events=self.news.feed,
            callbacks=self._stores.callbacks,
            sessions=self.sessions,
            session_of=self.session_of,
            ready=self._unready,
        )

    def session_of(self, tenant: str) -> SessionStatus:
        """The state of the tenant's WhatsApp session."""
        transport = self.transport_of(tenant)
        return transport.status(tenant) if transport else self.sessions.status(tenant)

    def transport_of(self, tenant: str) -> Transport | None:
        """What sends the tenant's messages from this process."""
        return self.dry_run if self.settings.tenant(tenant).transport == "dry_run" else None

    async def serve(
        self,
        host: str,
        port: int,
        announce: Callable[[str], None],
        stop: asyncio.Event,
        *side_tasks: Coroutine[Any, Any, Any],
    ) -> None:
        """Work until `stop` is set; `announce` is told the URL when everything is ready. A side task that ends, ends
        the gateway with its error."""
        watchdog = Watchdog(asyncio.get_running_loop())
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in (self.listener.run(), *side_tasks)]
            runner: web.AppRunner | None = None
            watchdog.start()
            try:
                await self._begin(group, tasks)
                runner = await self._listen_http(host, port)
                spare_the_collector()
                port = runner.addresses[0][1]
                announce(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
                await stop.wait()
            finally:
                watchdog.stop()
                await self._end(runner)
                for task in tasks:
                    task.cancel()

    async def _begin(self, group: asyncio.TaskGroup, tasks: list[asyncio.Task[Any]]) -> None:
        while not self.listener.connected:
            await self.clock.sleep(0.01)
        self._serving = True
        await self.housekeeping.start()
        await bind_logins(LoginStore(self.database))
        await self.tenants.service_hooks.notify("startup")
        await self.news.callbacks.start()
        for work in (
            self.way_out.sender.run, self.receiver.run, self.housekeeping.run, self.news.telling.run,
            self.supervisor.run, self.news.callbacks.run,
        ):  # fmt: skip
            tasks.append(group.create_task(work(), name=work.__qualname__))

    async def _listen_http(self, host: str, port: int) -> web.AppRunner:
        runner = Runner(make_app(self.services()), shutdown_timeout=_SHUTDOWN / 2)
        await runner.setup()
        await web.TCPSite(runner, host, port, backlog=1024).start()
        return runner

    async def _end(self, runner: web.AppRunner | None) -> None:
        """No new requests; those under way end; what is in flight is sent and recorded; plugins hear of it all."""
        log.info("stopping", extra={"action": "service.stopping"})
        self._stopping = True
        await self.hearing.close()
        try:
            async with asyncio.timeout(_SHUTDOWN), asyncio.TaskGroup() as group:
                await asyncio.wait([group.create_task(self._end_sending(runner))], timeout=_SHUTDOWN - _LAST_SHARE)
                group.create_task(self.news.callbacks.close())
                await self._end_telling()
        except TimeoutError:
            # A row that stays `sending` is named by the next start.
            log.error("not everything came to its end in %g s", _SHUTDOWN, extra={"action": "service.stopped_late"})

    async def _end_sending(self, runner: web.AppRunner | None) -> None:
        if runner is not None:
            await runner.cleanup()
        for path in (self.way_out.batcher, self.way_out.bell, self.way_out.sender):
            await path.close()
        await self.supervisor.close(_SESSIONS_SHUTDOWN)

    async def _end_telling(self) -> None:
        await self.receiver.close()
        await self.news.telling.close()
        if self._serving:
            await self.tenants.service_hooks.notify("shutdown")

    async def _unready(self) -> list[str]:
        reasons = []
        if self._stopping:
            reasons.append("stopping")
        if not self.listener.connected:
            reasons.append("not listening to PostgreSQL")
        if not await self.database.ping():
            reasons.append("PostgreSQL does not answer")
        return reasons

    def _admitted(self, message: Outgoing) -> None:
        """The messages of a batch are heard of one after the other; who listens is told once of them all."""
        if self._serving and message.tenant not in self._fresh:
            self._fresh.add(message.tenant)
            asyncio.get_running_loop().call_soon(self._stored, message.tenant)

    def _stored(self, tenant: str) -> None:
        self._fresh.discard(tenant)
        self.news.heard(tenant)
        if self.transport_of(tenant) is None:
            self.way_out.bell.ring(tenant)
        else:
            self.way_out.sender.wake(tenant)

    def _for_plugin(self, plugin: str, tenant: str | None) -> PluginGateway:
        return PluginGateway(
            send=PluginSend(lambda: self.way_out.admission, tenant, plugin),
            http=self._http,
            store=PluginData(self.store, tenant, plugin),
            opt_outs=PluginOptOuts(self.opt_outs, tenant, self._dropped),
            log=logging.getLogger(f"plugin.{plugin}"),
            find_key=self._find_key,
        )

    def _dropped(self, changes: list[StatusChange]) -> None:
        self.way_out.batcher.forget_answers()
        self.housekeeping.publish(changes)

    async def _find_key(self, api_key: str) -> Principal | None:
        return await self.tenants.find_key(api_key)  # late: plugins are compiled while `tenants` is being made


def _stores(database: Database) -> Stores:
    return Stores(
        messages=Store(database),
        opt_outs=OptOutStore(database),
        sessions=SessionStore(database),
        events=EventStore(database),
        readers=ReaderStore(database, "plugins"),
        callbacks=CallbackStore(database),
    )
