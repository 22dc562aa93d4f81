"""What is sent: all of it, in order, once, and its callers are told; pace, limits and phones that are not there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.wire.town import until

if TYPE_CHECKING:
    from sandbox import Phone
    from tests.wire.town import Town

SHOP, BUDI, NOBODY = "628111111111", "628222222222", "628999999999"
MANY = 200


async def opened(town: Town, **keys: str) -> Phone:
    """A gateway whose tenant `shop` is linked; a customer's phone."""
    await town.add("shop", **keys)
    await town.serve()
    await town.pair("shop", SHOP)
    return town.sandbox.phone(BUDI, "Budi")


def statuses(told: dict[str, Any]) -> list[str]:
    """What a message has been, oldest first."""
    return [event["status"] for event in told["history"]]


async def refused(town: Town, number: str, message: str) -> tuple[int, str]:
    """(HTTP status, code) of a send that must not be accepted."""
    status, answer = await town.ask("shop", "POST", "/api/send-message", json={"number": number, "message": message})
    return status, answer["code"]


async def test_a_post_quotes_and_mentions(town: Town) -> None:
    """`reply_to` takes the WhatsApp id of either side's message, and the phone shows whose words it answers;
    `mentions` takes numbers as people write them. An id that nobody knows makes a plain message."""
    budi = await opened(town)
    ours = await town.send("shop", BUDI, "Pesanan 7 siap", wait=30)
    assert (await budi.next()).reply_to is None
    wa_id = (await town.status_of("shop", ours["id"]))["wa_id"]
    await town.send("shop", BUDI, "diambil kapan @628222222222?", reply_to=wa_id, mentions=["0822-2222-222"])
    got = await budi.next()
    assert (got.reply_to, got.quoted_text, got.mentions) == (wa_id, "Pesanan 7 siap", (BUDI,))
    theirs = await budi.send(SHOP, "sore ini")
    await until(lambda: town.query("SELECT 1 FROM incoming_messages WHERE id = %s", theirs), bool)
    await town.send("shop", BUDI, "baik", reply_to=theirs)
    got = await budi.next()
    assert (got.text, got.reply_to, got.quoted_text) == ("baik", theirs, "sore ini")
    await town.send("shop", BUDI, "polos", reply_to="3EB0NOBODYKNOWSTHIS")
    assert ((await budi.next()).text, budi.received[-1].reply_to) == ("polos", None)


@pytest.mark.parametrize("at_once", [False, True])
async def test_two_hundred_messages_arrive_in_order_and_are_told_of(town: Town, at_once: bool) -> None:
    """Posted one after another, or all at once: on the phone as they were accepted, each once; sent, delivered and
    read are told of each."""
    budi = await opened(town)
    budi.auto_read = True
    posts = [town.send("shop", BUDI, f"{number}") for number in range(MANY)]
    ids = [answer["id"] for answer in (await asyncio.gather(*posts) if at_once else [await post for post in posts])]
    await until(lambda: len(budi.received), lambda count: count >= MANY)
    done = "SELECT count(*) FROM messages WHERE status = 'read'"
    await until(lambda: town.query(done), lambda rows: rows == [(MANY,)])
    accepted = [text for (text,) in town.query("SELECT content FROM messages ORDER BY seq")]
    assert [got.text for got in budi.received] == accepted
    assert sorted(accepted, key=int) == [str(number) for number in range(MANY)]
    assert at_once or accepted == sorted(accepted, key=int)
    assert budi.failures == []
    for message_id in ids:
        told = await town.status_of("shop", message_id)
        assert statuses(told) == ["queued", "sending", "sent", "delivered", "read"]


async def test_a_message_that_waits_for_its_gap_is_seen_being_typed(town: Town) -> None:
    """Typing shows before each paced message that waits, also where the gap is longer than it is shown; not before the
    first one, nor before one whose gap is waived. None leaves before the time that its caller was promised."""
    await town.add("shop", plugins="{api_key: , whitelist: , delay: {min: 1, max: 1}}")
    await town.add("slow", plugins="{api_key: , delay: {min: 5, max: 5}}")
    await town.serve()
    await town.pair("shop", SHOP)
    await town.pair("slow", "628111111112")
    budi, carol = town.sandbox.phone(BUDI, "Budi"), town.sandbox.phone("628333333333", "Carol")
    await town.ask("shop", "POST", "/api/whitelist", json={"number": carol.number})
    promised = [await town.send(tenant, BUDI, tenant) for tenant in ("slow", "slow", "shop", "shop")]
    await town.send("shop", carol.number, "segera")
    await until(lambda: len(budi.received), lambda count: count == 4)
    assert [(seen.sender, seen.state) for seen in budi.typing_seen] == [
        (SHOP, "composing"), ("628111111112", "composing"),
    ]  # fmt: skip
    assert (await carol.next()).text == "segera"
    assert carol.typing_seen == []
    for answer, tenant in zip(promised, ("slow", "slow", "shop", "shop"), strict=True):
        told = await town.until_status(tenant, answer["id"], "delivered")
        [left] = [event["at"] for event in told["history"] if event["status"] == "sending"]
        assert left >= answer["expected_at"]


async def test_an_offline_phone_gets_its_messages_when_it_is_back(town: Town) -> None:
    """WhatsApp has them, so they are sent; delivered is told only when the phone has them, in order."""
    budi = await opened(town)
    budi.online = False
    ids = [(await town.send("shop", BUDI, f"{number}", wait=30))["id"] for number in range(3)]
    assert [(await town.status_of("shop", message_id))["status"] for message_id in ids] == ["sent"] * 3
    assert budi.received == []
    budi.online = True
    for message_id in ids:
        told = await town.until_status("shop", message_id, "delivered")
        assert statuses(told) == ["queued", "sending", "sent", "delivered"]
    assert [got.text for got in budi.received] == ["0", "1", "2"]


async def test_a_number_without_whatsapp_fails_and_costs_nothing(town: Town) -> None:
    """The cause is named, the daily limit is given back, and whoever has WhatsApp gets theirs afterwards."""
    budi = await opened(town, plugins="{api_key: , daily_limit: {limit: 1}, delay: {min: 0, max: 0}}")
    for _ in range(2):
        answer = await town.send("shop", NOBODY, "halo?", wait=30)
        assert (answer["status"], answer["cause"]) == ("failed", "not_on_whatsapp")
    _, quota = await town.ask("shop", "GET", f"/api/quota/{NOBODY}")
    assert quota["used"] == 0
    await town.send("shop", BUDI, "halo")
    assert (await budi.next()).text == "halo"


async def test_the_fourth_message_of_a_day_is_refused_unless_the_number_is_listed(town: Town) -> None:
    """As shipped, with a limit of three: three arrive, the fourth is 429 and never arrives; on the whitelist both
    limit and delay are waived."""
    budi = await opened(town, plugins="{api_key: , whitelist: , daily_limit: {limit: 3}, delay: {min: 1, max: 1}}")
    for number in range(3):
        await town.send("shop", BUDI, f"{number}")
    assert await refused(town, BUDI, "3") == (429, "limit_reached")
    status, _ = await town.ask("shop", "POST", "/api/whitelist", json={"number": "0822-2222-222"})
    assert status in (200, 201)
    answer = await town.send("shop", BUDI, "listed")
    assert answer["quota"] is None
    await until(lambda: len(budi.received), lambda count: count == 4)
    assert sorted(got.text for got in budi.received) == ["0", "1", "2", "listed"]


async def test_answer_sent_waits_for_whatsapp(town: Town) -> None:
    """A tenant with `answer: sent` gets 200 when WhatsApp has the message, as callers of old are used to; with
    `Prefer: wait=0` it is 202 at once."""
    budi = await opened(town, answer="sent")
    send = {"number": BUDI, "message": "halo"}
    status, answer = await town.ask("shop", "POST", "/api/send-message", json=send)
    assert (status, answer["status"] in ("sent", "delivered")) == (200, True)
    assert (await budi.next()).text == "halo"
    status, answer = await town.ask("shop", "POST", "/api/send-message", json=send, headers={"Prefer": "wait=0"})
    assert (status, answer["status"]) == (202, "queued")
    assert (await budi.next()).text == "halo"


async def test_the_same_key_twice_is_one_message_on_the_phone(town: Town) -> None:
    """Repeated while it is under way, at the same moment, and after it was delivered: one id, one message."""
    budi = await opened(town)
    answers = await asyncio.gather(*(town.send("shop", BUDI, "Pesanan 7", client_ref="order-7") for _ in range(5)))
    await town.until_status("shop", answers[0]["id"], "delivered")
    # Within a second equal requests get the same answer; after it, the present status.
    repeat = lambda: town.send("shop", BUDI, "Pesanan 7", client_ref="order-7")  # noqa: E731
    again = await until(repeat, lambda answer: answer["status"] == "delivered")
    assert {answer["id"] for answer in (*answers, again)} == {answers[0]["id"]}
    await town.send("shop", BUDI, "akhir")
    await until(lambda: len(budi.received), lambda count: count >= 2)
    assert [got.text for got in budi.received] == ["Pesanan 7", "akhir"]
