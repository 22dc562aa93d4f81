"""kill -9 of the gateway alone: its session processes end in order, and its PostgreSQL after them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg2

from tests.wire.processes import children, is_running, session_processes
from tests.wire.town import built, until

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox import Sandbox

SHOP, BUDI, SITI = "628111111111", "628222222222", "628333333333"
BURST = [f"message {number}" for number in range(40)]


async def test_nothing_is_lost_when_the_gateway_is_killed(sandbox: Sandbox, tmp_path: Path) -> None:
    """Forty messages are acknowledged to WhatsApp and not one of them is written, as PostgreSQL is slow, and one of
    ours waits for its ack, when the gateway and with it the owner of PostgreSQL is killed. All forty are rows, once;
    ours is known to be sent; nothing is left running; and the next start goes on."""
    async with built(sandbox, tmp_path, None) as town:
        await town.add("shop")
        await town.serve()
        await town.pair("shop", SHOP)
        budi, siti = sandbox.phone(BUDI, "Budi"), sandbox.phone(SITI, "Siti")
        hello = await town.send("shop", BUDI, "hello", wait=20)
        await town.until_status("shop", hello["id"], "delivered")
        processes = session_processes(town.gateway.pid)
        [device] = sandbox.devices(SHOP)
        sandbox.hold_acks(SHOP, True)
        in_flight = await town.send("shop", SITI, "in flight")
        await until(lambda: len(siti.received), lambda count: count == 1)

        slow = psycopg2.connect(town.database)
        with slow.cursor() as cursor:
            cursor.execute("LOCK TABLE incoming_messages IN SHARE MODE")
            for text in BURST:
                await budi.send(SHOP, text)
            await until(lambda: sandbox.waiting(SHOP, device), lambda waiting: waiting == 0)
            others = set(children(town.gateway.pid)) - set(processes)
            await town.kill()
            sandbox.hold_acks(SHOP, False)
        slow.rollback()
        slow.close()
        for process in (*processes, *others):
            await until(lambda pid=process: is_running(pid), lambda running: not running)

        await town.serve()
        rows = town.query("SELECT content FROM incoming_messages ORDER BY seq")
        assert [content for (content,) in rows] == BURST
        assert (await town.status_of("shop", in_flight["id"]))["status"] in ("sent", "delivered")
        await town.until_state("shop", "connected")
        await town.send("shop", SITI, "again", wait=20)
        await until(lambda: [message.text for message in siti.received], lambda texts: texts == ["in flight", "again"])
