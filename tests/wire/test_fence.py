"""A session process that stood still, and does not know that its sessions are another's by now, sends nothing."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.wire.processes import session_processes
from tests.wire.town import until

if TYPE_CHECKING:
    from tests.wire.town import Town

SHOP, BUDI = "628111111111", "628222222222"


async def test_a_process_that_was_stopped_before_a_send_and_wakes_after_a_take_over(town: Town) -> None:
    """It has claimed a message and is about to hand it over when it is stopped; another gateway takes the session over;
    its own line to WhatsApp still works when it wakes. The message arrives once, from the new owner, and the sleeper's
    attempt is known not to have left."""
    armed = town.installation.home / "armed"
    armed.mkdir()
    town.installation = replace(town.installation, environment={"GAPURA_FAILPOINT": f"armed:{armed}"})
    town.installation.write("service.yaml", "sessions: {stuck_after: 300}\n")
    await town.add("shop")
    first = await town.serve()
    await town.pair("shop", SHOP)
    [sleeper] = session_processes(first.pid)
    budi = town.sandbox.phone(BUDI, "Budi")
    await town.send("shop", BUDI, "before", wait=20)
    await town.serve()

    (armed / "handing_over").write_text("stop")
    await town.send("shop", BUDI, "once")
    await until(lambda: (armed / f"handing_over.{sleeper}").exists(), bool)
    # As if this WhatsApp had not noticed: it goes on listening to the old connection.
    [device] = town.sandbox.devices(SHOP)
    town.sandbox._world.find(SHOP).devices[device].connection = None  # type: ignore[union-attr]
    [(fence,)] = town.query("SELECT fence FROM sessions WHERE tenant_id = 'shop'")
    await until(
        lambda: town.query("SELECT fence, state FROM sessions"), lambda rows: rows == [(fence + 1, "connected")]
    )
    os.kill(sleeper, signal.SIGCONT)

    await until(lambda: first.stderr, lambda log: "is held by another process now" in log)
    await until(lambda: [message.text for message in budi.received], lambda texts: texts[1:] == ["once"])
    await town.send("shop", BUDI, "after", wait=20)
    assert [message.text for message in budi.received] == ["before", "once", "after"]
    assert "lease_lost" in first.stderr
    assert town.query("SELECT DISTINCT fence FROM messages WHERE content = 'once'") == [(fence + 1,)]
