"""Runs a server of the benchmarks: on a free port that it prints, and no longer than the benchmark itself lives."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def serve(app: web.Application, begin: Callable[[web.Application], Awaitable[None]] | None = None) -> None:
    """Serve `app` on 127.0.0.1 until stdin ends; `begin` prepares it inside the event loop."""
    asyncio.run(_serve(app, begin))


async def _serve(app: web.Application, begin: Callable[[web.Application], Awaitable[None]] | None) -> None:
    if begin is not None:
        await begin(app)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(f"ready http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()
    await runner.cleanup()
