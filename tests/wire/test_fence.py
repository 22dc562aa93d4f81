"""A session process that stood still, and does not know that its sessions are another's by now, sends nothing."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from core.transport.whatsapp.database import library_dsn
from tests.db.whatsmeow_store import Store
from tests.wire.conftest import Refused
from tests.wire.failpoints import arm
from tests.wire.town import until

if TYPE_CHECKING:
    from tests.wire.conftest import Wire
    from tests.wire.town import Town

SHOP, BUDI = "628111111111", "628222222222"


async def test_a_process_that_was_stopped_before_a_send_and_wakes_after_a_take_over(town: Town) -> None:
    """It has claimed a message and is about to hand it over when it is stopped; another gateway takes the session over;
    its own line to WhatsApp still works when it wakes. The message arrives once, from the new owner, and the sleeper's
    attempt is known not to have left. The new owner stays the owner when it is replaced soon after."""
    armed = town.installation.home / "armed"
    armed.mkdir()
    town.installation = replace(town.installation, environment={"GAPURA_FAILPOINT": f"armed:{armed}"})
    town.installation.write("service.yaml", "sessions: {stuck_after: 300}\n")
    await town.add("shop")
    first = await town.serve()
    await town.pair("shop", SHOP)
    sleeper = await town.session_process()
    budi = town.sandbox.phone(BUDI, "Budi")
    await town.send("shop", BUDI, "before", wait=20)
    assert (await budi.next()).text == "before"
    second = await town.serve()

    [(fence,)] = town.query("SELECT fence FROM sessions WHERE tenant_id = 'shop'")
    arm(armed, "handing_over", "stop")
    await town.send("shop", BUDI, "once")
    await until((armed / f"handing_over.{sleeper}").exists, bool)
    # As if this WhatsApp had not noticed: it goes on listening to the old connection.
    [device] = town.sandbox.devices(SHOP)
    town.sandbox._world.find(SHOP).devices[device].connection = None  # type: ignore[union-attr]
    await until(lambda: second.stderr, lambda log: "session.connected" in log)
    os.kill(sleeper, signal.SIGCONT)

    await until(lambda: first.stderr, lambda log: "is held by another process now" in log)
    await until(lambda: [message.text for message in budi.received], lambda texts: texts[1:] == ["once"])
    await town.send("shop", BUDI, "after", wait=20)
    in_order = ["before", "once", "after"]
    await until(lambda: [message.text for message in budi.received], lambda texts: texts == in_order)
    await until(lambda: first.stderr, lambda log: "did not leave: " in log)

    # The new holder comes back when it is replaced: it may have been the old one.
    await town.sandbox.replace(SHOP, device)
    await until(lambda: second.stderr, lambda log: "session.reclaimed" in log)
    await town.until_state("shop", "connected")
    await town.send("shop", BUDI, "still here", wait=20)
    assert town.query("SELECT DISTINCT fence FROM messages WHERE content = 'once'") == [(fence + 1,)]


async def test_the_library_hands_the_refusal_on_and_nothing_leaves(wire: Wire, database_url: str) -> None:
    """In a new conversation and in an old one: the send fails as one that did not leave, the phone sees nothing, and
    under the lease's own fence the same client goes on as if nothing had happened."""
    store = Store(database_url, None)
    wire.dsn = library_dsn(database_url, "shop", 3)
    process = await wire.process()
    await wire.pair(process, "shop", SHOP)
    store.run("INSERT INTO sessions (tenant_id, fence) VALUES ('shop', 4)")
    for table in ("sessions", "sender_keys"):
        store.run("SELECT wa_install_fence_v1(%s)", (table,))
    budi = wire.sandbox.phone(BUDI, "Budi")
    for text in ("new", "old"):
        store.run("UPDATE sessions SET fence = 4")
        with pytest.raises(Refused) as refused:
            await process.ask("send", "shop", to=BUDI, text="refused")
        assert (refused.value.cause, refused.value.left, refused.value.retry) == ("lease_lost", False, True)
        store.run("UPDATE sessions SET fence = 3")
        await process.ask("send", "shop", to=BUDI, text=text)
        assert (await budi.next()).text == text
    assert [message.text for message in budi.received] == ["new", "old"]
