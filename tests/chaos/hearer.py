"""Who is called back: a server in this process, which nothing strikes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from aiohttp import web

from tests.chaos.facts import Posted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TYPES = ("message.received", "message.lost", "message.sent", "message.failed", "message.unknown")
"""What it wants to hear."""


@contextlib.asynccontextmanager
async def hearing(heard: list[Posted]) -> AsyncIterator[str]:
    """The URL of a server that says yes to everything, and notes it in `heard`."""

    async def hear(request: web.Request) -> web.Response:
        told = await request.json()
        heard.append(Posted(request.headers["webhook-id"], told["tenant"], told["seq"]))
        return web.Response()

    app = web.Application()
    app.router.add_post("/", hear)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()
