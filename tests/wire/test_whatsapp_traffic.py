"""Messages, receipts and typing between a real neonize client and simulated phones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.wire.conftest import Refused, until

if TYPE_CHECKING:
    from sandbox import Phone
    from tests.wire.conftest import ClientProcess, Wire

SHOP, CAROL = "628111111111", "628777777777"


@pytest.fixture
async def shop(wire: Wire) -> ClientProcess:
    """A process in which the tenant `shop` is online."""
    process = await wire.process()
    await wire.pair(process, "shop", SHOP)
    return process


@pytest.fixture
def carol(wire: Wire, shop: ClientProcess) -> Phone:
    """A customer."""
    return wire.sandbox.phone(CAROL, "Carol")


async def test_a_text_arrives_and_its_receipts_are_delivered_and_read(shop: ClientProcess, carol: Phone) -> None:
    """send returns the id and the time that WhatsApp gave; the phone's receipts come as ack names for that id."""
    sent = await shop.ask("send", "shop", to=CAROL, text="halo, dunia 🌏")
    got = await carol.next()
    assert (got.id, got.sender, got.text) == (sent["wa_id"], SHOP, "halo, dunia 🌏")
    assert sent["at"].endswith("+00:00")
    delivered = await shop.event("Receipt", "shop")
    assert (delivered["ids"], delivered["status"]) == ([sent["wa_id"]], "delivered")
    await carol.read(got.id)
    read = await shop.event("Receipt", "shop", skip=1)
    assert (read["ids"], read["status"]) == ([sent["wa_id"]], "read")
    assert read["chat"] == read["sender"]


async def test_a_reply_quotes_and_mentions(shop: ClientProcess, carol: Phone) -> None:
    """A quote carries id, author and text; a mention its person: the phone shows both."""
    await carol.send(SHOP, "berapa harganya?")
    asked = await shop.event("Received", "shop")
    quote = {"id": asked["id"], "sender": asked["sender"], "content": asked["content"]}
    await shop.ask("send", "shop", to=CAROL, text="sepuluh ribu @628777777777", quote=quote, mentions=[CAROL])
    got = await carol.next()
    assert (got.reply_to, got.quoted_text, got.mentions) == (asked["id"], "berapa harganya?", (CAROL,))


async def test_a_message_tells_who_wrote_it_by_number_and_by_lid(shop: ClientProcess, carol: Phone) -> None:
    """One person is the number where it is known, and the lid stands beside it; reply and mentions are kept."""
    sent = await shop.ask("send", "shop", to=CAROL, text="silakan")
    await carol.next()
    message_id = await carol.send(SHOP, "terima kasih", reply_to=sent["wa_id"], mentions=[SHOP])
    got = await shop.event("Received", "shop")
    assert (got["id"], got["content"], got["kind"]) == (message_id, "terima kasih", "text")
    assert (got["chat"], got["sender"], got["phone"]) == (CAROL, CAROL, CAROL)
    assert got["lid"] == carol.lid if "@" in carol.lid else f"{carol.lid}@lid"
    assert (got["push_name"], got["from_me"], got["is_group"]) == ("Carol", False, False)
    assert (got["reply_to"], got["mentions"]) == (sent["wa_id"], [SHOP])


async def test_a_lid_can_be_written_to(shop: ClientProcess, carol: Phone) -> None:
    """A recipient key …@lid reaches the same phone."""
    await carol.send(SHOP, "siapa ini?")
    lid = (await shop.event("Received", "shop"))["lid"]
    await shop.ask("send", "shop", to=lid, text="toko")
    assert (await carol.next()).text == "toko"


async def test_what_the_owner_types_on_the_phone_is_from_me_in_the_customers_chat(
    wire: Wire, shop: ClientProcess, carol: Phone
) -> None:
    """A copy of what another device of the account sent is marked, and its chat is the recipient's."""
    await wire.sandbox.phone(SHOP).send(CAROL, "diketik oleh pemilik")
    got = await shop.event("Received", "shop")
    assert (got["content"], got["from_me"], got["chat"]) == ("diketik oleh pemilik", True, CAROL)
    assert got["sender"] == SHOP


async def test_typing_reading_and_asking_who_has_whatsapp(shop: ClientProcess, carol: Phone) -> None:
    """The phone sees typing begin and end, and that its message was read; numbers are looked up."""
    message_id = await carol.send(SHOP, "hai")
    await shop.event("Received", "shop")
    await shop.ask("mark_read", "shop", ids=[message_id], chat=CAROL, sender=CAROL)
    await carol.receipt(message_id, "read")
    await shop.ask("typing", "shop", to=CAROL)
    await shop.ask("typing", "shop", to=CAROL, on=False)
    await shop.ask("send", "shop", to=CAROL, text="!")
    await carol.next()
    assert [(seen.sender, seen.state) for seen in carol.typing_seen] == [(SHOP, "composing"), (SHOP, "paused")]
    known = await shop.ask("on_whatsapp", "shop", numbers=[CAROL, "628999999999"])
    assert known[CAROL] is True
    assert not known.get("628999999999")


async def test_463_is_a_cause_of_its_own(wire: Wire, shop: ClientProcess, carol: Phone) -> None:
    """The reach-out timelock arrives only as a send's error; the message did not leave and is not to be repeated."""
    wire.sandbox.refuse_sends(SHOP, 463, 1)
    with pytest.raises(Refused) as caught:
        await shop.ask("send", "shop", to=CAROL, text="promo")
    assert (caught.value.cause, caught.value.left, caught.value.retry) == ("reach_out_timelock", False, False)
    assert caught.value.detail == "server returned error 463"
    await shop.ask("send", "shop", to=CAROL, text="lagi")
    assert (await carol.next()).text == "lagi"


async def test_a_number_without_whatsapp_is_named(shop: ClientProcess) -> None:
    """No LID from the server means that nobody is there: nothing left."""
    with pytest.raises(Refused) as caught:
        await shop.ask("send", "shop", to="628999999999", text="halo?")
    assert (caught.value.cause, caught.value.left, caught.value.retry) == ("not_on_whatsapp", False, False)


async def test_a_slow_consumer_holds_the_library_back_and_loses_nothing(
    wire: Wire, shop: ClientProcess, carol: Phone
) -> None:
    """300 messages against a handler that stands still: all arrive afterwards, once each, in order; sends still work
    meanwhile (to somebody else: writing to each other at once, two sides of a chat ask for repeats), and the loop is
    never blocked."""
    dave = wire.sandbox.phone("628444444444", "Dave")
    await shop.ask("hold")
    texts = [f"pesan {number}" for number in range(300)]
    for text in texts:
        await carol.send(SHOP, text)
    await shop.ask("tick")
    assert "Received" not in shop.kinds("shop")
    await shop.ask("send", "shop", to=dave.number, text="masih hidup")
    assert (await dave.next()).text == "masih hidup"
    await shop.ask("go_on")
    await shop.event("Received", "shop", skip=299)
    assert [e["content"] for e in shop.events if e["event"] == "Received"] == texts


async def test_closing_hands_over_what_the_library_had_read(wire: Wire, shop: ClientProcess, carol: Phone) -> None:
    """The library acknowledges before we see a message, so what it had read at a close is handed over first: with what
    comes after the next open, nothing is missing and nothing comes twice."""
    jid = (await shop.ask("identity", "shop"))["jid"]
    texts = [f"{number}" for number in range(60)]
    for text in texts:
        await carol.send(SHOP, text)
    assert await shop.ask("close", "shop") is True
    await shop.ask("open", "shop", device=jid)
    await shop.event("Received", "shop", skip=59)
    assert sorted([e["content"] for e in shop.events if e["event"] == "Received"], key=int) == texts


async def test_closing_does_not_wait_for_a_consumer_that_stands_still(
    wire: Wire, shop: ClientProcess, carol: Phone
) -> None:
    """With Go's thread blocked on a full queue, close ends within its deadline, frees it and names what it dropped."""
    await shop.ask("hold")
    for number in range(200):
        await carol.send(SHOP, f"{number}")
    # Taken in: one by the handler, 64 by the queue, one by the blocked thread, 101 by Go.
    (device,) = wire.sandbox.devices(SHOP)
    await until(lambda: wire.sandbox.waiting(SHOP, device) <= 200 - 130)
    assert await shop.ask("close", "shop", timeout=10) is True
    await shop.ask("tick")
    assert "Received was not handled before the session was closed, and is dropped" in shop.logged()
