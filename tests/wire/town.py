"""A whole town: a WhatsApp on loopback, a gateway as its users have it, phones, and callers.

The sandbox runs in the test's own loop, so that a test speaks through its phones; the gateway and its session processes
are processes of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import psycopg2

from db.embedded import EmbeddedPostgres
from sandbox.control import serve_control
from tests.service.gateway_process import Installation
from tests.wire.processes import is_running, session_processes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sandbox import Sandbox
    from tests.service.gateway_process import GatewayProcess

PATIENCE = 60.0
"""Seconds that anything may take on a busy machine."""

UNPACED = "{api_key: , whitelist: , daily_limit: {limit: 1000}, delay: {min: 0, max: 0}, opt_out: }"


@dataclass
class Town:
    """`keys`: tenant -> API key. The gateway is started with `serve` and found in `gateway`."""

    sandbox: Sandbox
    control: str
    installation: Installation
    database_url: str | None
    http: aiohttp.ClientSession
    keys: dict[str, str] = field(default_factory=dict)
    gateways: list[GatewayProcess] = field(default_factory=list)

    @property
    def gateway(self) -> GatewayProcess:
        """The one that was started last."""
        return self.gateways[-1]

    async def add(self, tenant: str, *, plugins: str = UNPACED, **keys: str) -> None:
        """A tenant on WhatsApp. To be added before `serve`, which reads its YAML."""
        made = await asyncio.to_thread(
            lambda: self.installation.add_tenant(tenant, transport="whatsapp", plugins=plugins, **keys)
        )
        self.keys[tenant] = made

    async def serve(self) -> GatewayProcess:
        """Start a gateway on this WhatsApp."""
        gateway = await asyncio.to_thread(self.installation.serve, "--sandbox", self.control)
        self.gateways.append(gateway)
        return gateway

    async def work(self) -> GatewayProcess:
        """Start a worker, as another machine would. `gateway` stays who it was."""
        data = self.installation.home / "another-machine"
        worker = await asyncio.to_thread(lambda: self.installation.work("--sandbox", self.control, data=data))
        self.gateways.insert(0, worker)
        return worker

    async def stop(self) -> int:
        """SIGTERM to the gateway; its exit status."""
        return await asyncio.to_thread(self.gateway.stop)

    async def session_process(self) -> int:
        """The gateway's only session process. Another one, in which somebody has just paired, may take its time to
        end."""
        [pid] = await until(lambda: session_processes(self.gateway.pid), lambda pids: len(pids) == 1)
        return int(pid)

    async def kill_sessions(self) -> None:
        """SIGKILL to all session processes of the gateway."""
        for pid in session_processes(self.gateway.pid):
            os.kill(pid, signal.SIGKILL)
            await until(lambda pid=pid: is_running(pid), lambda running: not running)

    async def kill(self) -> None:
        """SIGKILL to the gateway. Its session processes live on for a moment, and end in order."""
        await asyncio.to_thread(self.gateway.kill)

    async def kill_and_wait(self) -> None:
        """The same, and nobody of it is left: what is in the database now is nobody's."""
        processes = session_processes(self.gateway.pid)
        await self.kill()
        for pid in processes:
            await until(lambda pid=pid: is_running(pid), lambda running: not running)

    async def ask(self, tenant: str, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """(status, JSON) of a request with the tenant's key."""
        headers = {"X-API-Key": self.keys[tenant], **options.pop("headers", {})}
        async with self.http.request(method, self.gateway.url + path, headers=headers, **options) as answer:
            return answer.status, await answer.json()

    async def send(self, tenant: str, number: str, message: str, *, wait: int = 0, **fields: Any) -> dict[str, Any]:
        """POST /api/send-message, which must be accepted; `wait`: seconds for WhatsApp to have it."""
        status, answer = await self.ask(
            tenant, "POST", "/api/send-message",
            json={"number": number, "message": message, **fields}, headers={"Prefer": f"wait={wait}"} if wait else {},
        )  # fmt: skip
        assert status in (200, 202), answer
        return dict(answer)

    async def state(self, tenant: str) -> dict[str, Any]:
        """GET /api/status."""
        _, answer = await self.ask(tenant, "GET", "/api/status")
        return dict(answer)

    async def until_state(self, tenant: str, *states: str, within: float = PATIENCE) -> dict[str, Any]:
        """Wait for one of these states; fail with what there is."""
        return await until(lambda: self.state(tenant), lambda status: status["state"] in states, within)

    async def status_of(self, tenant: str, message_id: str) -> dict[str, Any]:
        """GET /api/messages/{id}."""
        _, answer = await self.ask(tenant, "GET", f"/api/messages/{message_id}")
        return dict(answer)

    async def until_status(self, tenant: str, message_id: str, *statuses: str) -> dict[str, Any]:
        """Wait until a message is in one of these."""
        return await until(lambda: self.status_of(tenant, message_id), lambda told: told["status"] in statuses)

    async def qr(self, tenant: str) -> str:
        """Begin to pair; the QR code's text."""
        status, answer = await self._until_shown(tenant, "GET", "/api/qr")
        assert status == 200, answer
        return str(answer["qr"])

    async def pair_code(self, tenant: str, number: str) -> tuple[int, Any]:
        """(status, JSON) of POST /api/pair-code."""
        return await self._until_shown(tenant, "POST", "/api/pair-code", json={"number": number})

    async def _until_shown(self, tenant: str, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """On a busy machine a code may not be there while HTTP waits for it: then it is asked for once more."""
        while (answered := await self.ask(tenant, method, path, **options))[0] == 503:
            self.query("UPDATE sessions SET asked_at = NULL WHERE tenant_id = %s", tenant)
        return answered

    async def pair(self, tenant: str, number: str) -> None:
        """Link the tenant to the phone of `number`, and wait until it is connected."""
        await self.sandbox.scan(await self.qr(tenant), number, tenant)
        await self.until_state(tenant, "connected")

    @property
    def database(self) -> str:
        """The URL of its database: that which it was given, or its embedded one's."""
        url = self.database_url or EmbeddedPostgres(self.installation.data).url
        assert url is not None
        return url

    def query(self, statement: str, *parameters: Any) -> list[Any]:
        """The rows of a query, on a connection of its own."""
        connection = psycopg2.connect(self.database)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()


async def until(look: Callable[[], Any], good: Callable[[Any], bool], within: float = PATIENCE) -> Any:
    """What `look` (may be async) sees once it is good; AssertionError with the last sight."""
    deadline = time.monotonic() + within
    while True:
        seen = look()
        if asyncio.iscoroutine(seen):
            seen = await seen
        if good(seen):
            return seen
        assert time.monotonic() < deadline, f"never; at last: {seen!r}"
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def built(sandbox: Sandbox, home: Path, database_url: str | None) -> AsyncIterator[Town]:
    """A town without a gateway yet; without `database_url` its gateways run the embedded PostgreSQL. Whatever was
    started in it ends with it."""
    async with serve_control(sandbox, 0) as control, aiohttp.ClientSession() as http:
        town = Town(sandbox, control, Installation(home, database_url), database_url, http)
        try:
            yield town
        finally:
            for gateway in town.gateways:
                await asyncio.to_thread(gateway.stop)
