"""A phone asks for a message that it cannot read when the process that sent it is gone: it reads it all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.wire.town import until

if TYPE_CHECKING:
    from sandbox import Phone
    from tests.wire.town import Town

SHOP, BUDI = "628111111111", "628222222222"


async def opened(town: Town) -> Phone:
    """A linked tenant, and a customer in a conversation with it: from now on a message opens only in their session."""
    await town.add("shop")
    await town.serve()
    await town.pair("shop", SHOP)
    budi = town.sandbox.phone(BUDI, "Budi")
    said = await budi.send(SHOP, "halo")
    await until(lambda: town.query("SELECT 1 FROM incoming_messages WHERE id = %s", said), bool)
    await town.send("shop", BUDI, "halo juga", wait=30)
    assert (await budi.next()).text == "halo juga"
    return budi


async def test_what_the_phone_could_not_read_arrives_readable_though_its_process_is_gone(town: Town) -> None:
    """It is sent once more by another process, as a new message, and its history says so."""
    budi = await opened(town)
    budi.online = False
    message = await town.send("shop", BUDI, "Pesanan 7 siap", wait=30)
    before = (await town.status_of("shop", message["id"]))["wa_id"]
    await town.kill_sessions()
    budi.line.keys.sessions.clear()
    budi.online = True
    told = await town.until_status("shop", message["id"], "delivered")
    assert [got.text for got in budi.received] == ["halo juga", "Pesanan 7 siap"]
    assert any(failure.startswith(before) for failure in budi.failures)
    assert budi.received[-1].id == told["wa_id"] != before
    steps = [(step["status"], step["cause"]) for step in told["history"]]
    once = [("sending", None), ("sent", None)]
    assert steps == [("queued", None), *once, ("queued", "asked_again"), *once, ("delivered", None)]


async def test_what_its_own_process_remembers_is_not_sent_as_a_new_message(town: Town) -> None:
    """The library sends another copy of the same message: one delivery, and nothing in the history."""
    budi = await opened(town)
    budi.line.keys.sessions.clear()
    message = await town.send("shop", BUDI, "Pesanan 8 siap", wait=30)
    told = await town.until_status("shop", message["id"], "delivered")
    assert budi.failures != []
    assert budi.received[-1].id == told["wa_id"]
    assert [step["status"] for step in told["history"]] == ["queued", "sending", "sent", "delivered"]
