"""What comes in while processes are killed: every message of a phone is told once, or named as lost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg2

from tests.wire.failpoints import arm
from tests.wire.town import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.wire.town import Town

SHOP, CAFE = "628111111111", "628111111112"
CAROL = "628777777777"


def told(town: Town, tenant: str = "shop") -> dict[str, list[str]]:
    """{type of event: ids of the messages}, as they were told."""
    rows = town.query(
        "SELECT type, incoming FROM events WHERE tenant_id = %s AND incoming IS NOT NULL ORDER BY seq", tenant
    )
    found: dict[str, list[str]] = {"message.received": [], "message.lost": []}
    for kind, message_id in rows:
        found.setdefault(kind, []).append(message_id)
    return found


async def accounted_for(town: Town, sent: set[str]) -> dict[str, list[str]]:
    """Wait until each of these was told or named; patience is not what is tested."""

    def look() -> dict[str, list[str]]:
        town.query("UPDATE arrivals SET missed_at = missed_at - interval '25 seconds'")
        return told(town)

    return await until(look, lambda found: set().union(*found.values()) >= sent, within=120)


async def test_killed_session_processes_lose_nothing_without_a_name(town: Town, tmp_path: Path) -> None:
    """Three phones write without pause; a process dies with a message in its hands, another before it has looked at
    what the library has acknowledged, and one in between. Each message is one event, received or lost."""
    points = tmp_path / "points"
    points.mkdir()
    town.installation = replace(town.installation, environment={"GAPURA_FAILPOINT": f"armed:{points}"})
    await town.add("shop")
    await town.serve()
    await town.pair("shop", SHOP)
    phones = [town.sandbox.phone(f"62822222222{number}") for number in range(3)]
    sent: set[str] = set()
    done = asyncio.Event()

    async def write() -> None:
        while not done.is_set():
            for phone in phones:
                sent.add(await phone.send(SHOP, f"{phone.number} {len(sent)}"))
                await asyncio.sleep(0.01)

    writing = asyncio.create_task(write())
    for point in ("incoming_received", "incoming_written", "incoming_received"):
        before = len(told(town)["message.received"])
        await until(lambda b=before: len(told(town)["message.received"]), lambda n, b=before: n > b + 10)
        await until(arm(points, point, "kill").exists, lambda there: not there)
    before = len(told(town)["message.received"])
    await until(lambda: len(told(town)["message.received"]), lambda n: n > before)
    os.kill(await town.session_process(), signal.SIGKILL)
    await asyncio.sleep(0.2)
    done.set()
    await writing
    found = await accounted_for(town, sent)
    times = Counter(found["message.received"] + found["message.lost"])
    assert set(times) == sent
    assert {message_id: n for message_id, n in times.items() if n > 1} == {}
    assert len(found["message.lost"]) >= 2
    await until(lambda: town.gateway.stderr, lambda log: "incoming.lost" in log)
    assert town.query("SELECT * FROM arrivals") == []
    assert (
        town.query("SELECT * FROM incoming_messages i JOIN events e ON e.incoming = i.id WHERE e.type = 'message.lost'")
        == []
    )


async def test_a_message_that_was_opened_and_of_which_nothing_was_written_is_named(town: Town) -> None:
    """The process dies in the library, between the step of the ratchet and the message's secret. WhatsApp brings the
    message again, and nobody can open it any more."""
    await town.add("shop")
    await town.serve()
    await town.pair("shop", SHOP)
    carol = town.sandbox.phone(CAROL)
    first = await carol.send(SHOP, "one")
    await until(lambda: told(town)["message.received"], lambda ids: ids == [first])
    lock = psycopg2.connect(town.database_url)
    with lock.cursor() as cursor:
        cursor.execute("LOCK TABLE whatsmeow_message_secrets IN EXCLUSIVE MODE")
        lost = await carol.send(SHOP, "two")
        waiting = (
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND wait_event_type = 'Lock' AND query LIKE '%%message_secrets%%'"
        )
        await until(lambda: town.query(waiting), bool)
        os.kill(await town.session_process(), signal.SIGKILL)
        town.query(f"SELECT pg_terminate_backend(pid, 10000) FROM ({waiting}) x")
    lock.close()
    last = await carol.send(SHOP, "three")
    found = await accounted_for(town, {first, lost, last})
    assert found["message.received"] == [first, last]
    assert found["message.lost"] == [lost]


async def test_what_came_while_the_gateway_was_down_is_told_after_its_start(town: Town) -> None:
    """After SIGTERM as after SIGKILL of the gateway, nothing is lost that WhatsApp had not handed over."""
    await town.add("shop")
    await town.serve()
    await town.pair("shop", SHOP)
    carol = town.sandbox.phone(CAROL)
    sent = [await carol.send(SHOP, f"before {n}") for n in range(10)]
    assert await town.stop() == 0
    sent += [await carol.send(SHOP, f"down {n}") for n in range(50)]
    await town.serve()
    await until(lambda: told(town)["message.received"], lambda ids: len(ids) >= len(sent))
    await town.kill()
    device = town.sandbox.devices(SHOP)[0]
    await until(lambda: town.sandbox.is_online(SHOP, device), lambda online: not online)
    sent += [await carol.send(SHOP, f"killed {n}") for n in range(50)]
    await town.serve()
    await until(lambda: told(town)["message.received"], lambda ids: len(ids) >= len(sent))
    assert told(town) == {"message.received": sent, "message.lost": []}
    assert town.query("SELECT * FROM arrivals") == []


async def test_own_messages_and_two_tenants_that_write_to_each_other_lose_nothing(town: Town) -> None:
    """Of one message between two tenants, one is the sender: it is no arrival there. Nor is what the owner writes on
    the phone itself."""
    for tenant in ("shop", "cafe"):
        await town.add(tenant)
    await town.serve()
    await town.pair("shop", SHOP)
    await town.pair("cafe", CAFE)
    await town.send("shop", CAFE, "to you", wait=30)
    own = await town.sandbox.phone(SHOP).send(CAFE, "from the phone")
    await until(lambda: told(town, "cafe")["message.received"], lambda ids: len(ids) == 2)
    await until(
        lambda: town.query("SELECT count(*) FROM whatsmeow_message_secrets WHERE message_id = %s", own),
        lambda n: n == [(2,)],
    )
    assert town.query("SELECT * FROM arrivals") == []
    assert told(town) == {"message.received": [], "message.lost": []}


async def test_what_is_no_text_is_told_and_never_lost(town: Town) -> None:
    """A picture with its caption, a sticker, a reaction: each is an event, and plugins see none of them."""
    await town.add("shop")
    await town.serve()
    await town.pair("shop", SHOP)
    carol = town.sandbox.phone(CAROL)
    sent = [
        await carol.show(SHOP, kind, words)
        for kind, words in (("image", "look"), ("sticker", ""), ("reaction", "👍"), ("location", ""))
    ]
    await until(lambda: told(town)["message.received"], lambda ids: ids == sent)
    _, answer = await town.ask("shop", "GET", "/api/events?types=message.received")
    assert [(event["data"]["kind"], event["data"]["content"]) for event in answer["events"]] == [
        ("image", "look"), ("sticker", ""), ("reaction", "👍"), ("location", ""),
    ]  # fmt: skip
    assert town.query("SELECT count(*) FROM incoming_messages WHERE dispatched_at IS NULL") == [(0,)]
    assert town.query("SELECT * FROM arrivals") == []
