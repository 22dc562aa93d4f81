"""The real neonize talks with simulated phones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.wire.sandbox.client import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox import Sandbox
    from tests.wire.sandbox.client import Client

    NewClient = Callable[..., Client]

TOKO, CAROL, DAVE = "628111111111", "628777777777", "628888888888"


async def test_texts_go_both_ways(sandbox: Sandbox, new_client: NewClient) -> None:
    """A client that scanned gets what a phone writes and the phone gets its answer, with the same ids on both sides."""
    client, carol = new_client(), sandbox.phone(CAROL, "Carol")
    assert await client.pair(TOKO, "Toko") == 1
    sent = await carol.send(TOKO, "halo é 🌏")
    got = await client.event("Message")
    assert (got["id"], got["text"], got["sender_number"], got["name"]) == (sent, "halo é 🌏", CAROL, "Carol")
    assert got["secret"] == 32, "real phones send a messageSecret"
    answer = await client.call("send", CAROL, "hai juga")
    received = await carol.next()
    assert (received.id, received.text, received.sender, received.sender_device) == (answer, "hai juga", TOKO, 1)
    assert (await client.event("Receipt"))["ids"] == [answer]
    assert carol.failures == []


async def test_a_tenant_may_write_first(sandbox: Sandbox, new_client: NewClient) -> None:
    """A client finds a phone by its number, asks whether others are on WhatsApp, and begins the conversation."""
    client, dave = new_client(), sandbox.phone(DAVE)
    await client.pair(TOKO)
    assert await client.call("on_whatsapp", DAVE, "628999999999") == [True, False]
    sent = await client.call("send", DAVE, "promo")
    assert (await dave.next()).id == sent
    await dave.send(TOKO, "stop")
    assert (await client.event("Message"))["text"] == "stop"


async def test_replies_and_mentions(sandbox: Sandbox, new_client: NewClient) -> None:
    """Quotes and mentions arrive as they were sent, from phone to client and from client to phone."""
    client, carol = new_client(), sandbox.phone(CAROL)
    await client.pair(TOKO)
    first = await carol.send(TOKO, "how much?")
    await client.event("Message")
    await client.call("reply", first, "ten")
    reply = await carol.next()
    assert (reply.text, reply.reply_to, reply.quoted_text) == ("ten", first, "how much?")
    await carol.send(TOKO, "too much, @628888888888", reply_to=reply.id, mentions=[DAVE])
    got = await client.event("Message")
    assert (got["reply_to"], got["quoted"]) == (reply.id, "ten")
    assert got["participant"].partition("@")[0] in (TOKO, sandbox.phone(TOKO).lid)
    assert got["mentions"] == [f"{DAVE}@s.whatsapp.net"]
    await client.call("mention", CAROL, "ask @628888888888", DAVE)
    assert (await carol.next()).mentions == (DAVE,)


async def test_receipts(sandbox: Sandbox, new_client: NewClient) -> None:
    """Delivered, then read, both ways; a client that never said it is there acknowledges as inactive."""
    client, carol = new_client(), sandbox.phone(CAROL)
    await client.pair(TOKO, "Toko")
    sent = await carol.send(TOKO, "one")
    await client.event("Message")
    assert (await carol.receipt(sent, "inactive", PATIENCE)).sender == TOKO
    await client.call("read", sent)
    await carol.receipt(sent, "read", PATIENCE)
    assert carol.chats[TOKO][0].status == "read"
    answer = await client.call("send", CAROL, "two")
    assert await client.event("Receipt") == {"event": "Receipt", "ids": [answer], "type": 1}
    await carol.read((await carol.next()).id)
    assert await client.event("Receipt") == {"event": "Receipt", "ids": [answer], "type": 4}


async def test_an_available_client_says_delivered(sandbox: Sandbox, new_client: NewClient) -> None:
    """The phone tells a new client its name, without which it cannot be available; then its receipts say delivered."""
    client, carol = new_client(), sandbox.phone(CAROL)
    await client.pair(TOKO, "Toko Maju")
    await named(client, "Toko Maju")
    await client.call("available")
    sent = await carol.send(TOKO, "are you there?")
    await carol.receipt(sent, "delivered", PATIENCE)
    await sandbox.phone(TOKO).set_name("Toko Mundur")
    await named(client, "Toko Mundur")
    await sandbox.phone(TOKO).set_contact(CAROL, "Carol Wijaya")
    async with asyncio.timeout(PATIENCE):
        while await client.call("contact", CAROL) != "Carol Wijaya":
            await asyncio.sleep(0.05)


async def named(client: Client, name: str) -> None:
    """Wait until the client knows its push name."""
    async with asyncio.timeout(PATIENCE):
        while (await client.call("me"))["name"] != name:
            await asyncio.sleep(0.05)


async def test_typing(sandbox: Sandbox, new_client: NewClient) -> None:
    """Each side sees the other begin and stop to type."""
    client, carol = new_client(), sandbox.phone(CAROL)
    await client.pair(TOKO)
    await client.call("type", CAROL, True)
    await client.call("type", CAROL, False)
    async with asyncio.timeout(PATIENCE):
        while len(carol.typing_seen) < 2:
            await carol.wait_changed(carol.version, PATIENCE)
    assert [(seen.sender, seen.state) for seen in carol.typing_seen] == [(TOKO, "composing"), (TOKO, "paused")]
    await carol.typing(TOKO)
    await carol.typing(TOKO, False)
    assert [(await client.event("ChatPresence"))["state"] for _ in range(2)] == [1, 2]


async def test_the_own_phone_sees_all(sandbox: Sandbox, new_client: NewClient) -> None:
    """What a client sends is on its own phone too, and what the owner types there is told to the client as its own."""
    client, carol = new_client(), sandbox.phone(CAROL)
    await client.pair(TOKO)
    own = sandbox.phones[TOKO]
    sent = await client.call("send", CAROL, "from the gateway")
    copy = await own.next()
    assert (copy.id, copy.to, copy.sender, copy.sender_device) == (sent, CAROL, TOKO, 1)
    await carol.next()
    typed = await own.send(CAROL, "typed by the owner")
    got = await client.event("Message")
    assert (got["id"], got["from_me"]) == (typed, True)
    assert got["chat"] in (CAROL, carol.lid)
    assert [line.text for line in own.chats[CAROL]] == ["from the gateway", "typed by the owner"]


async def test_the_retry_dance(sandbox: Sandbox, new_client: NewClient) -> None:
    """A message that either side cannot read is asked for again and arrives once."""
    client, carol = new_client(), sandbox.phone(CAROL)
    await client.pair(TOKO)
    await carol.send(TOKO, "one")
    await client.event("Message")
    await client.call("send", CAROL, "two")
    await carol.next()
    carol.line.keys.sessions.clear()
    sent = await client.call("send", CAROL, "the phone forgot its session")
    assert (await carol.next(PATIENCE)).id == sent
    assert carol.failures != []
    session = carol.line.keys.sessions[f"{sandbox.phone(TOKO).lid}:1"][0]
    session.sending = type(session.sending)(bytes(32), session.sending.count)
    sent = await carol.send(TOKO, "in a session that went wrong")
    assert (await client.event("Message"))["id"] == sent
    assert client.count("Message") == 0


async def test_the_retry_dance_at_home(sandbox: Sandbox, new_client: NewClient) -> None:
    """The same between a client and its own phone: copies of what either of them sent are asked for again."""
    client = new_client()
    await client.pair(TOKO)
    own, carol = sandbox.phones[TOKO], sandbox.phone(CAROL)
    await client.call("send", CAROL, "one")
    await own.next()
    await own.send(CAROL, "two")
    assert (await client.event("Message"))["text"] == "two"
    await client.call("send", CAROL, "three")
    await own.next()
    own.line.keys.sessions.clear()
    sent = await client.call("send", CAROL, "the phone forgot its session")
    copy = await own.next(PATIENCE)
    assert (copy.id, copy.to) == (sent, CAROL)
    assert own.failures != []
    session = own.line.keys.sessions[f"{own.lid}:1"][0]
    session.sending = type(session.sending)(bytes(32), session.sending.count)
    typed = await own.send(CAROL, "in a session that went wrong")
    got = await client.event("Message")
    assert (got["id"], got["from_me"]) == (typed, True)
    assert got["chat"] in (CAROL, carol.lid)


async def test_hundreds_in_order(sandbox: Sandbox, new_client: NewClient) -> None:
    """What a phone writes without a pause arrives complete and in order; so does what a client sends one by one."""
    client, carol = new_client(), sandbox.phone(CAROL)
    await client.pair(TOKO)
    for number in range(200):
        await carol.send(TOKO, f"in {number}")
    assert [(await client.event("Message"))["text"] for _ in range(200)] == [f"in {n}" for n in range(200)]
    for number in range(200):
        await client.call("send", CAROL, f"out {number}")
    assert [(await carol.next()).text for _ in range(200)] == [f"out {n}" for n in range(200)]
