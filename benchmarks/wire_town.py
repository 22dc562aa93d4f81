"""A WhatsApp on loopback with its phones in this process, and a gateway beside it whose tenants are linked to it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp

from benchmarks.servers import add_tenant, clean_environment, started, temporary_home
from sandbox import Sandbox
from sandbox.control import serve_control

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from benchmarks.servers import Server

_CONNECTED_WITHIN = 60.0
_POLL = 0.05


@dataclass(frozen=True, slots=True)
class Tenant:
    """`number`: the phone that it is linked to; `delay`: least and largest gap in seconds."""

    name: str
    number: str
    delay: tuple[float, float]


@dataclass(frozen=True, slots=True)
class WireTown:
    """Everything that runs. `keys`: tenant -> API key."""

    sandbox: Sandbox
    url: str
    keys: Mapping[str, str]
    http: aiohttp.ClientSession

    async def send(self, tenant: str, number: str, message: str) -> dict[str, Any]:
        """POST /api/send-message. RuntimeError when it is not accepted."""
        status, answer = await self._ask(
            tenant, "POST", "/api/send-message", json={"number": number, "message": message}
        )
        if status != 202:
            raise RuntimeError(f"a send of {tenant} was answered {status}: {answer}")
        return answer

    async def link(self, tenant: Tenant) -> None:
        """Pair the tenant by its QR code. RuntimeError when it is not connected in time."""
        status, answer = await self._ask(tenant.name, "GET", "/api/qr")
        if status != 200:
            raise RuntimeError(f"no QR code for {tenant.name}: {answer}")
        await self.sandbox.scan(answer["qr"], tenant.number, tenant.name)
        deadline = time.monotonic() + _CONNECTED_WITHIN
        while (told := (await self._ask(tenant.name, "GET", "/api/status"))[1])["state"] != "connected":
            if time.monotonic() > deadline:
                raise RuntimeError(f"{tenant.name} does not connect: {told}")
            await asyncio.sleep(_POLL)

    async def _ask(self, tenant: str, method: str, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
        headers = {"X-API-Key": self.keys[tenant]}
        async with self.http.request(method, self.url + path, headers=headers, **options) as answer:
            return answer.status, await answer.json()


@contextlib.asynccontextmanager
async def running(tenants: Sequence[Tenant], tell: Callable[[str], None]) -> AsyncIterator[WireTown]:
    """All of it, with every tenant connected; nothing is left afterwards. RuntimeError when something does not
    start."""
    with temporary_home() as home:
        async with (
            Sandbox() as sandbox,
            serve_control(sandbox, 0) as control,
            aiohttp.ClientSession() as http,
            _gateway(home, control, tenants) as (gateway, keys),
        ):
            town = WireTown(sandbox, f"http://127.0.0.1:{gateway.port}", keys, http)
            for tenant in tenants:
                tell(f"wire: linking {tenant.name}")
                await town.link(tenant)
            yield town


@contextlib.asynccontextmanager
async def _gateway(
    home: Path, control: str, tenants: Sequence[Tenant]
) -> AsyncIterator[tuple[Server, Mapping[str, str]]]:
    """Its commands block and ask the sandbox, which lives in this loop, so they run in threads."""
    environment = clean_environment(home)
    _configure(home / "config", tenants)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((home / "log").open("wb"))
        keys = {tenant.name: await asyncio.to_thread(add_tenant, environment, tenant.name) for tenant in tenants}
        serve = started(["run.py", "serve", "--port", "0", "--sandbox", control], environment, log.fileno())
        server = await asyncio.to_thread(stack.enter_context, serve)
        try:
            yield server, keys
        finally:
            await asyncio.to_thread(stack.close)


def _configure(config: Path, tenants: Sequence[Tenant]) -> None:
    (config / "tenants").mkdir(parents=True)
    for tenant in tenants:
        low, high = tenant.delay
        plugins = f"{{api_key: , whitelist: , daily_limit: {{limit: 1000000}}, delay: {{min: {low}, max: {high}}}}}"
        text = f"transport: whatsapp\nplugins: {plugins}\n"
        (config / "tenants" / f"{tenant.name}.yaml").write_text(text, encoding="utf-8")
