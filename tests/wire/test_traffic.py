"""What is sent: all of it, in order, once, and its callers are told; pace, limits and phones that are not there."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.wire.town import until

if TYPE_CHECKING:
    from sandbox import Phone
    from tests.wire.town import Town

SHOP, SLOW, BUDI, CAROL, NOBODY = "628111111111", "628111111112", "628222222222", "628333333333", "628999999999"
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


def moment(told: dict[str, Any], status: str) -> datetime:
    """When a message became this."""
    [at] = [event["at"] for event in told["history"] if event["status"] == status]
    return datetime.fromisoformat(at)


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


async def test_two_hundred_messages_arrive_in_order_and_are_told_of(town: Town) -> None:
    """Posted one after another, and 200 more all at once to another phone: they arrive as they were accepted, each
    once; sent, delivered and read are told of each."""
    budi = await opened(town)
    carol = town.sandbox.phone(CAROL, "Carol")
    budi.auto_read = carol.auto_read = True
    answers = [await town.send("shop", BUDI, f"{number}") for number in range(MANY)]
    answers += await asyncio.gather(*(town.send("shop", CAROL, f"{number}") for number in range(MANY)))
    done = "SELECT count(*) FROM messages WHERE status = 'read'"
    await until(lambda: town.query(done), lambda rows: rows == [(2 * MANY,)], within=120)
    everything = [f"{number}" for number in range(MANY)]
    assert [got.text for got in budi.received] == everything
    accepted = [text for (text,) in town.query("SELECT content FROM messages WHERE recipient = %s ORDER BY seq", CAROL)]
    assert [got.text for got in carol.received] == accepted
    assert sorted(accepted, key=int) == everything
    assert budi.failures + carol.failures == []
    for told in await asyncio.gather(*(town.status_of("shop", answer["id"]) for answer in answers)):
        assert statuses(told) == ["queued", "sending", "sent", "delivered", "read"]


async def test_a_message_that_waits_for_its_gap_is_seen_being_typed(town: Town) -> None:
    """Typing shows before each paced message that waits, also where the gap is longer than it is shown; not before the
    first one, nor before one whose gap is waived. None leaves before its gap is over."""
    gaps = {"shop": 3.8, "slow": 4.5}
    for tenant, gap in gaps.items():
        await town.add(tenant, plugins=f"{{api_key: , whitelist: , delay: {{min: {gap}, max: {gap}}}}}")
    await town.serve()
    await town.pair("shop", SHOP)
    await town.pair("slow", SLOW)
    budi, carol = town.sandbox.phone(BUDI, "Budi"), town.sandbox.phone(CAROL, "Carol")
    await town.ask("shop", "POST", "/api/whitelist", json={"number": CAROL})
    posted = [(tenant, [await town.send(tenant, BUDI, f"{n}") for n in range(2)]) for tenant in ("slow", "shop")]
    await town.send("shop", CAROL, "segera")
    await until(lambda: len(budi.received), lambda count: count == 4)
    assert sorted((seen.sender, seen.state) for seen in budi.typing_seen) == [(SHOP, "composing"), (SLOW, "composing")]
    assert (await carol.next()).text == "segera"
    assert carol.typing_seen == []
    for tenant, answers in posted:
        first, second = [await town.until_status(tenant, answer["id"], "delivered") for answer in answers]
        assert moment(second, "sending") - moment(first, "queued") >= timedelta(seconds=gaps[tenant])


async def test_an_offline_phone_gets_its_messages_when_it_is_back(town: Town) -> None:
    """WhatsApp has them, so they are sent; delivered is told only when the phone has them, in order."""
    budi = await opened(town)
    budi.online = False
    ids = [(await town.send("shop", BUDI, f"{number}", wait=30))["id"] for number in range(3)]
    for message_id in ids:
        await town.until_status("shop", message_id, "sent")
    assert budi.received == []
    budi.online = True
    for message_id in ids:
        told = await town.until_status("shop", message_id, "delivered")
        assert statuses(told) == ["queued", "sending", "sent", "delivered"]
    assert [got.text for got in budi.received] == ["0", "1", "2"]


async def test_the_daily_limit_counts_what_could_arrive_and_the_whitelist_waives_it(town: Town) -> None:
    """A number without WhatsApp fails by that name and gives its count back. Three messages a day arrive, the fourth
    is 429 and never arrives; for a number on the whitelist neither limit nor delay holds."""
    budi = await opened(town, plugins="{api_key: , whitelist: , daily_limit: {limit: 3}, delay: {min: 1, max: 1}}")
    failed = await town.send("shop", NOBODY, "halo?", wait=30)
    assert (failed["status"], failed["cause"]) == ("failed", "not_on_whatsapp")
    _, quota = await town.ask("shop", "GET", f"/api/quota/{NOBODY}")
    assert quota["used"] == 0
    for number in range(3):
        await town.send("shop", BUDI, f"{number}")
    assert await refused(town, BUDI, "3") == (429, "limit_reached")
    status, _ = await town.ask("shop", "POST", "/api/whitelist", json={"number": "0822-2222-222"})
    assert status in (200, 201)
    assert (await town.send("shop", BUDI, "listed"))["quota"] is None
    await until(lambda: len(budi.received), lambda count: count == 4)
    assert sorted(got.text for got in budi.received) == ["0", "1", "2", "listed"]
    assert (await town.status_of("shop", failed["id"]))["status"] == "failed"


async def test_a_caller_that_waits_hears_when_whatsapp_has_it_and_may_repeat(town: Town) -> None:
    """`answer: sent`: 200 when WhatsApp has the message; `Prefer: wait=0`: 202 at once. The same key five times at the
    same moment, and again after it was delivered, is one id and one message on the phone."""
    budi = await opened(town, answer="sent")
    order = {"number": BUDI, "message": "Pesanan 7", "client_ref": "order-7"}
    answers = await asyncio.gather(*(town.ask("shop", "POST", "/api/send-message", json=order) for _ in range(5)))
    assert [(status, told["status"] in ("sent", "delivered")) for status, told in answers] == [(200, True)] * 5
    await town.until_status("shop", answers[0][1]["id"], "delivered")
    # Within a second equal requests get the same answer; after it, the present status.
    repeat = lambda: town.ask("shop", "POST", "/api/send-message", json=order)  # noqa: E731
    again = await until(repeat, lambda answer: answer[1]["status"] == "delivered")
    assert {told["id"] for _, told in (*answers, again)} == {answers[0][1]["id"]}
    last = {"number": BUDI, "message": "akhir"}
    status, told = await town.ask("shop", "POST", "/api/send-message", json=last, headers={"Prefer": "wait=0"})
    assert (status, told["status"]) == (202, "queued")
    await until(lambda: len(budi.received), lambda count: count >= 2)
    assert [got.text for got in budi.received] == ["Pesanan 7", "akhir"]
