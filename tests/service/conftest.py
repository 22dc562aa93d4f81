"""A gateway in this process: HTTP on a free port of loopback, two tenants, nothing that leaves the machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import aiohttp
import psycopg2
import pytest
from multidict import CIMultiDict

from core.app import Gateway
from core.callback_settings import CallbackSettings, Endpoint
from core.hooks.registry import Plugins
from core.settings import ServerSettings, Settings, TenantSettings
from core.tenants import key_digest, new_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

ALPHA, BETA = "alpha", "beta"
NUMBER = "628123456789"

TABLES = (
    "messages",
    "idempotency_keys",
    "daily_limits",
    "quota_counters",
    "lines",
    "whitelist",
    "incoming_messages",
    "opt_outs",
)
"""Where a request could leave a trace."""

UNPACED: Mapping[str, Mapping[str, Any]] = {"api_key": {}, "whitelist": {}, "daily_limit": {"limit": 3}}
SLOW: Mapping[str, Mapping[str, Any]] = {**UNPACED, "delay": {"min": 3600, "max": 3600}}
"""The first message goes at once, the next an hour later."""


@dataclass(frozen=True)
class Answer:
    """What came back. `raw` is the body as it was sent."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        """The body as JSON."""
        return json.loads(self.raw)


@dataclass
class House:
    """A running gateway, its tenants' keys, and a hand on its database."""

    url: str
    database_url: str
    gateway: Gateway
    keys: dict[str, str]
    http: aiohttp.ClientSession
    stop: asyncio.Event

    async def call(self, method: str, path: str, *, key: str | None = ALPHA, **options: Any) -> Answer:
        """One request, by default with alpha's key; `key` is a tenant's name, or a key, or None."""
        headers = CIMultiDict(options.pop("headers", {}))
        if key is not None:
            headers["X-API-Key"] = self.keys.get(key, key)
        async with self.http.request(method, self.url + path, headers=headers, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def send(self, to: str = NUMBER, text: str = "hello", *, key: str | None = ALPHA, **more: Any) -> Answer:
        """POST a message; `headers` and `params` go to the request, the rest into the body."""
        options = {name: more.pop(name) for name in ("headers", "params") if name in more}
        body = {"number": to, "message": text, **more}
        return await self.call("POST", "/api/send-message", key=key, json=body, **options)

    def rows(self, sql: str, params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """One statement on a connection of its own, as an operator with psql would run it."""
        connection = psycopg2.connect(self.database_url)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql, params)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def traces(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of all tables that a request could have touched."""
        return {table: self.rows(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in TABLES}

    async def add_tenant(self, tenant: str) -> None:
        """A tenant and its key."""
        self.keys[tenant] = new_key()
        await self.gateway.store.add_tenant(tenant, key_digest(self.keys[tenant]))

    async def until(self, message: Answer, status: str, *, key: str = ALPHA) -> Answer:
        """The message's story as soon as it has that status; the test fails after a minute."""
        async with asyncio.timeout(60):
            while True:
                story = await self.call("GET", message.headers["Location"], key=key)
                if story.body["status"] == status:
                    return story
                await asyncio.sleep(0.01)


def settings_of(plugins_dir: Path | None = None, public_url: str | None = None, **tenants: dict[str, Any]) -> Settings:
    """Settings of a gateway that sends dryly, and callbacks also to loopback. A tenant not named has no delay and the
    limit 3."""
    defaults = {"transport": "dry_run", "plugins": UNPACED}
    return Settings(
        server=ServerSettings(public_url=public_url),
        callbacks=CallbackSettings(allow=("127.0.0.1/32",)),
        plugins_dir=plugins_dir,
        defaults=TenantSettings(**defaults),
        tenants={name: _tenant({**defaults, **own}) for name, own in tenants.items()},
    )


def _tenant(keys: dict[str, Any]) -> TenantSettings:
    callbacks = tuple(Endpoint(**endpoint) for endpoint in keys.pop("callbacks", ()))
    return TenantSettings(**keys, callbacks=callbacks)


async def nothing_is_supervised() -> NoReturn:
    """In place of session processes, which would look for WhatsApp: tests of these doors have a FakeSessions, and those
    of real sessions are in tests/wire."""
    while True:
        await asyncio.sleep(3600)


@contextlib.asynccontextmanager
async def running(database_url: str, settings: Settings) -> AsyncIterator[House]:
    """A gateway that serves until the end of the block."""
    plugins = Plugins.load(settings.plugins_dir, entry_points=False)
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    async with Gateway.open(settings, plugins, database_url) as gateway, aiohttp.ClientSession() as http:
        gateway.supervisor.run = nothing_is_supervised  # type: ignore[method-assign]
        gateway.database._connect_timeout = 10.0  # a machine that stands still is no PostgreSQL that is away
        serving = asyncio.create_task(gateway.serve("127.0.0.1", 0, ready.set_result, stop))
        try:
            await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                await serving
            house = House(ready.result(), database_url, gateway, {}, http, stop)
            for tenant in (ALPHA, BETA):
                await house.add_tenant(tenant)
            yield house
        finally:
            stop.set()
            await serving


@pytest.fixture
async def open_house(
    loop: asyncio.AbstractEventLoop, database_url: str
) -> AsyncIterator[Callable[..., Awaitable[House]]]:
    """Opens gateways on one database of this test's own, with settings as `settings_of` takes them."""
    async with contextlib.AsyncExitStack() as stack:

        async def open_one(**settings: Any) -> House:
            return await stack.enter_async_context(running(database_url, settings_of(**settings)))

        yield open_one


@pytest.fixture
async def house(open_house: Callable[..., Awaitable[House]]) -> House:
    """A gateway with the tenants alpha and beta: no delay, three messages a day to a number."""
    return await open_house()
