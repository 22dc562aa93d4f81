"""The application with all routes, and its server."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from sandbox.control import accounts, linking, phones
from sandbox.control.guard import guard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox import Sandbox

HOST = "127.0.0.1"

PAGE = Path(__file__).parents[1] / "page"

_GRACE = 0.5
"""Seconds that requests under way have to end; long polls never end by themselves."""


def control_app(sandbox: Sandbox) -> web.Application:
    """The API and the page of a sandbox, which the caller starts and stops."""
    app = web.Application(middlewares=[guard], client_max_size=1 << 20)
    app.add_routes([*phones.routes(sandbox), *linking.routes(sandbox), *accounts.routes(sandbox)])
    app.router.add_get("/", _page)
    app.router.add_get(r"/page/{file:[a-z]+\.(?:css|js)}", _part)
    return app


@asynccontextmanager
async def serve_control(sandbox: Sandbox, port: int) -> AsyncIterator[str]:
    """Listen on 127.0.0.1 until the end of the block; the URL. `port` 0 is any free one. Raises OSError."""
    runner = web.AppRunner(
        control_app(sandbox), access_log=None, handler_cancellation=True, shutdown_timeout=_GRACE, keepalive_timeout=75
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        yield f"http://{HOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _page(request: web.Request) -> web.StreamResponse:
    return web.FileResponse(PAGE / "index.html")


async def _part(request: web.Request) -> web.StreamResponse:
    file = PAGE / request.match_info["file"]
    if not file.is_file():  # a FileResponse would answer without a word
        raise web.HTTPNotFound
    return web.FileResponse(file)
