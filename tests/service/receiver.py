"""Somebody who is sent callbacks: a real HTTP server on loopback that does as it is told."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

SECRET = "whsec_" + "c2VjcmV0IGZvciB0aGUgdGVzdHMgb2YgY2FsbGJhY2tz"


@dataclass(frozen=True)
class Call:
    """One POST as it came in."""

    path: str
    headers: Mapping[str, str]
    raw: bytes
    request: web.Request

    @property
    def id(self) -> str:
        """Its webhook-id."""
        return self.headers["webhook-id"]

    @property
    def body(self) -> Any:
        """The event."""
        return json.loads(self.raw)


@dataclass
class Receiver:
    """`answer(call)` decides what is answered (200 by default); `calls`: all that came, in order; `most_at_once`: how
    many were being answered at the same time."""

    answer: Callable[[Call], Awaitable[web.StreamResponse]] | None = None
    calls: list[Call] = field(default_factory=list)
    most_at_once: int = 0
    port: int = 0
    _now: int = 0
    _runner: web.AppRunner | None = None
    _held: socket.socket | None = None

    async def start(self) -> None:
        """Listen, after a `stop` on the same port as before."""
        if self._held is None:
            # Bound and never listening: between a `stop` and the next `start` nobody else gets the port.
            self._held = socket.socket()
            self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._held.bind(("127.0.0.1", 0))
            self.port = self._held.getsockname()[1]
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def stop(self) -> None:
        """Whoever connects now is refused."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def close(self) -> None:
        """Stop for good."""
        await self.stop()
        if self._held is not None:
            self._held.close()

    def url(self, path: str = "/hook") -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}{path}"

    def endpoint(self, **more: Any) -> dict[str, Any]:
        """What TenantSettings' `callbacks` may hold for it."""
        return {"url": self.url(), "secret": SECRET, **more}

    async def until(self, count: int) -> list[Call]:
        """All calls, as soon as there are so many; the test fails after a minute."""
        async with asyncio.timeout(60):
            while len(self.calls) < count:
                await asyncio.sleep(0.01)
        return self.calls

    async def _take(self, request: web.Request) -> web.StreamResponse:
        call = Call(request.path, dict(request.headers), await request.read(), request)
        self.calls.append(call)
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            return await self.answer(call) if self.answer else web.Response()
        finally:
            self._now -= 1


def always(status: int, **options: Any) -> Callable[[Call], Awaitable[web.Response]]:
    """The same answer to everything."""

    async def answer(_: Call) -> web.Response:
        return web.Response(status=status, **options)

    return answer
