"""Session processes die, stand still, are stopped and are too many: every tenant is open once, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

from aiohttp import web

from tests.wire.processes import children, is_running, session_processes
from tests.wire.town import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox import Sandbox
    from tests.wire.town import Town

SHOP, CAFE, BUDI, SITI = "628111111111", "628111111112", "628222222222", "628333333333"

END_WITHIN = 10.0
"""Seconds in which SIGTERM ends everything."""


async def stops_in_time(town: Town) -> None:
    """SIGTERM: in order, in time, and no child is left."""
    processes = children(town.gateway.pid)
    begun = time.monotonic()
    assert await town.stop() == 0
    assert time.monotonic() - begun < END_WITHIN, town.gateway.stderr
    assert [pid for pid in processes if is_running(pid)] == []


async def gone(pid: int) -> None:
    """Wait for the end of a process."""
    await until(lambda: is_running(pid), lambda running: not running)


async def test_a_process_that_dies_and_one_that_stands_still(town: Town) -> None:
    """Killed: what was on its way is known by its receipt, the queue goes on. Standing still: killed, and opened again.
    Tenants in other processes notice nothing. (The receipt comes when the process is dead: the library confirms one
    before anybody else sees it, so that one which comes just before the end may be lost with it.)"""
    town.installation.write("service.yaml", "sessions: {per_process: 1, stuck_after: 8}\n")
    for tenant in ("shop", "cafe"):
        await town.add(tenant)
    await town.serve()
    await town.pair("shop", SHOP)
    shop = await town.session_process()
    await town.pair("cafe", CAFE)
    [cafe] = set(await until(lambda: session_processes(town.gateway.pid), lambda pids: len(pids) == 2)) - {shop}
    budi, siti = town.sandbox.phone(BUDI, "Budi"), town.sandbox.phone(SITI, "Siti")

    since = (await town.state("cafe"))["since"]
    town.sandbox.hold_acks(SHOP, True)
    budi.online = False
    in_flight = await town.send("shop", BUDI, "nobody knows")
    queued = await town.send("shop", SITI, "later")
    await until(lambda: town.sandbox.waiting(BUDI, 0), bool)
    os.kill(shop, signal.SIGKILL)
    await gone(shop)
    town.sandbox.hold_acks(SHOP, False)
    budi.online = True
    await town.until_status("shop", queued["id"], "sent", "delivered")
    await until(lambda: [message.text for message in siti.received], lambda texts: texts == ["later"])
    assert (await town.state("cafe"))["since"] == since

    since = (await town.state("shop"))["since"]
    os.kill(cafe, signal.SIGSTOP)
    await gone(cafe)
    await town.send("cafe", BUDI, "again", wait=30)
    await town.until_state("cafe", "connected")
    await until(lambda: [message.text for message in budi.received], lambda texts: texts == ["nobody knows", "again"])
    assert (await town.state("shop"))["since"] == since
    await town.until_status("shop", in_flight["id"], "delivered")
    await stops_in_time(town)


async def test_two_gateways_on_one_database(town: Town) -> None:
    """Each tenant is open once, and each gateway holds one of two. When one gateway is killed its session processes end
    after it, the other takes over and the queue goes on; killed too, the next start has everything again."""
    for tenant in ("shop", "cafe"):
        await town.add(tenant)
    first = await town.serve()
    await town.pair("shop", SHOP)
    await town.pair("cafe", CAFE)
    budi = town.sandbox.phone(BUDI, "Budi")
    await town.serve()
    holders = "SELECT count(DISTINCT process) FROM sessions WHERE state = 'connected'"
    await until(lambda: town.query(holders), lambda rows: rows == [(2,)])
    fences = town.query("SELECT tenant_id, fence FROM sessions ORDER BY 1")
    await town.send("shop", BUDI, "through the second", wait=20)
    await asyncio.sleep(2.5)  # both look round, and leave it at that
    await town.session_process()
    assert town.query("SELECT tenant_id, fence FROM sessions ORDER BY 1") == fences

    processes = session_processes(first.pid)
    await asyncio.to_thread(first.kill)
    for pid in processes:
        await gone(pid)
    await town.send("shop", BUDI, "queued")
    await until(lambda: [message.text for message in budi.received], lambda texts: texts[1:] == ["queued"])
    for tenant in ("shop", "cafe"):
        await town.until_state(tenant, "connected")
    process = await town.session_process()

    await town.kill()
    await gone(process)
    await town.serve()
    for tenant in ("shop", "cafe"):
        await town.until_state(tenant, "connected")
    assert [message.text for message in budi.received] == ["through the second", "queued"]


@contextlib.asynccontextmanager
async def black_hole(sandbox: Sandbox) -> AsyncIterator[str]:
    """A control API of a sandbox whose proxy takes every connection and never says a word."""
    held: list[asyncio.StreamWriter] = []
    proxy = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    told = {
        "proxy": f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}",
        "ca": sandbox.ca_pem,
        "root_key": sandbox.root_key.hex(),
    }

    async def attach(_: web.Request) -> web.Response:
        return web.json_response(told)

    app = web.Application()
    app.router.add_get("/attach", attach)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        proxy.close()
        for writer in held:
            writer.close()


async def test_sigterm_in_the_midst_of_pairing_and_of_connecting(town: Town) -> None:
    """With a QR code shown, and with the library hanging in its dial, the gateway ends in order and in time; the tenant
    that was pairing can begin anew."""
    for tenant in ("shop", "cafe"):
        await town.add(tenant)
    await town.serve()
    await town.pair("shop", SHOP)
    await town.qr("cafe")
    await stops_in_time(town)
    [(state, reason)] = town.query("SELECT state, reason FROM sessions WHERE tenant_id = 'cafe'")
    assert (state, reason) == ("unpaired", "the gateway was stopped")

    real = town.control
    async with black_hole(town.sandbox) as town.control:
        await town.serve()
        await town.until_state("shop", "connecting")
        await stops_in_time(town)
    town.control = real
    await town.serve()
    await town.until_state("shop", "connected")
    town.query("UPDATE sessions SET asked_at = NULL")
    await town.pair("cafe", CAFE)
