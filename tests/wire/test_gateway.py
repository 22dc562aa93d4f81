"""Whole journeys: a POST to a phone and a phone's answer, through the real neonize and a WhatsApp on loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.wire.codec import Codec
from tests.wire.town import until

if TYPE_CHECKING:
    import pytest

    from sandbox.wire.node import Node
    from tests.wire.town import Town


async def test_a_post_arrives_on_a_phone_and_its_receipts_come_back(town: Town) -> None:
    """Sent, delivered and read are told under WhatsApp's names, each when it happened."""
    await town.add("shop")
    await town.serve()
    await town.pair("shop", "628111111111")
    budi = town.sandbox.phone("628222222222", "Budi")
    sent = await town.send("shop", "0822-2222-222", "halo", wait=20)
    assert sent["status"] in ("sent", "delivered")
    got = await budi.next()
    assert got.text == "halo"
    await town.until_status("shop", sent["id"], "delivered")
    await budi.read(got.id)
    told = await town.until_status("shop", sent["id"], "read")
    assert [event["status"] for event in told["history"]] == ["queued", "sending", "sent", "delivered", "read"]


async def test_a_stop_is_obeyed_also_after_a_restart(town: Town) -> None:
    """A phone's own word ends it: one confirmation, 403 from then on, also of the next process; START undoes it."""
    await town.add("shop")
    await town.serve()
    await town.pair("shop", "628111111111")
    budi = town.sandbox.phone("628222222222", "Budi")
    await budi.send("628111111111", "Stop.")
    confirmation = await budi.next()
    assert confirmation.text
    assert await town.stop() == 0
    await town.serve()
    await town.until_state("shop", "connected")
    status, refusal = await town.ask(
        "shop", "POST", "/api/send-message", json={"number": "628222222222", "message": "promo"}
    )  # fmt: skip
    assert (status, refusal["code"]) == (403, "opted_out")
    await budi.send("628111111111", "START")
    await budi.next()
    await town.send("shop", "628222222222", "welcome", wait=20)
    assert (await budi.next()).text == "welcome"


async def test_the_second_unpaired_tenant_gets_a_code_and_the_first_stays(town: Town) -> None:
    """Without a jid the library would open the first stored device of the database: nobody else's is ever opened."""
    await town.add("first")
    await town.add("second")
    await town.serve()
    await town.pair("first", "628111111111")
    since = (await town.state("first"))["since"]
    assert await town.qr("second")
    assert (await town.state("second"))["state"] == "pairing"
    await town.sandbox.scan(await town.qr("second"), "628333333333", "second")
    await town.until_state("second", "connected")
    assert (await town.state("first"))["state"] == "connected"
    assert (await town.state("first"))["since"] == since


async def test_a_vanished_device_row_makes_one_tenant_unpaired(town: Town) -> None:
    """Opening a device that is not in the store would end the process: it is looked up first, and nobody suffers."""
    await town.add("first")
    await town.add("second")
    await town.serve()
    await town.pair("first", "628111111111")
    await town.pair("second", "628333333333")
    await town.stop()
    town.query("DELETE FROM whatsmeow_device WHERE jid LIKE %s", "628333333333%")
    await town.serve()
    await town.until_state("first", "connected")
    lost = await town.until_state("second", "unpaired")
    assert "pair again" in lost["reason"]
    assert (await town.state("first"))["state"] == "connected"


async def test_unlinked_from_the_phone(town: Town) -> None:
    """The tenant is logged out with the reason, what is queued waits, and a new number can be linked."""
    await town.add("shop")
    await town.serve()
    await town.pair("shop", "628111111111")
    await town.sandbox.unlink("628111111111", town.sandbox.devices("628111111111")[0])
    told = await town.until_state("shop", "logged_out")
    assert "unlinked" in told["reason"]
    budi = town.sandbox.phone("628222222222", "Budi")
    waiting = await town.send("shop", "628222222222", "later")
    assert (await town.status_of("shop", waiting["id"]))["status"] == "queued"
    town.query("UPDATE sessions SET asked_at = NULL")
    await town.pair("shop", "628111111111")
    assert (await budi.next(30)).text == "later"
    await until(lambda: budi.receipts, lambda _: True)


async def test_messages_are_not_marked_as_a_bots(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unasked, neonize adds <bot biz_bot="1"/> to every message to a person; session processes forbid it."""
    seen: list[Node] = []
    decode = Codec.decode

    def spy(codec: Codec, frame: bytes) -> Node:
        seen.append(decode(codec, frame))
        return seen[-1]

    monkeypatch.setattr(Codec, "decode", spy)
    await town.add("shop")
    await town.serve()
    await town.pair("shop", "628111111111")
    budi = town.sandbox.phone("628222222222", "Budi")
    await town.send("shop", "628222222222", "halo", wait=20)
    await budi.next()
    parts = {child.tag for node in seen if node.tag == "message" for child in node.children}
    assert "participants" in parts
    assert "bot" not in parts
