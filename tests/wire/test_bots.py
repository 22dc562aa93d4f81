"""Bots on the wire: all are answered, in order, whatever the limits are; old news and endless talk are not."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.wire.town import until

if TYPE_CHECKING:
    from sandbox import Phone
    from tests.wire.town import Town

SHOP, OTHER, BUDI = "628111111111", "628333333333", "628222222222"

ECHO = """
from core import hookimpl

@hookimpl
def on_message(message):
    return f"echo: {message.content}"
"""

CITING = """
from core import hookimpl

@hookimpl
def on_message(message):
    said = f"{message.reply_to} {','.join(message.mentions)} {message.chat}"
    return message.reply(said, quote=True, mentions=(message.sender,))
"""

BOTS = "{api_key: , whitelist: , daily_limit: {limit: 1}, delay: {min: 600, max: 600}, {bot}: }"


async def opened(town: Town, bot: str, text: str, *tenants: tuple[str, str]) -> None:
    """A gateway whose tenants (name, number) are linked and have this bot. Limit and delay would stop all but one."""
    town.installation.write("service.yaml", "plugins_dir: ../bots\n")
    town.installation.write(f"../bots/{bot}.py", text)
    for tenant, _ in tenants or (("shop", SHOP),):
        await town.add(tenant, plugins=BOTS.replace("{bot}", bot))
    await town.serve()
    for tenant, number in tenants or (("shop", SHOP),):
        await town.pair(tenant, number)


def texts(phone: Phone) -> list[str]:
    """What the phone has received, in order."""
    return [got.text for got in phone.received]


def read_at_once(phone: Phone) -> list[str]:
    """What it has received and could read when it came, in order. The library sends and receives with one Signal
    session without a common lock, so that of traffic both ways at the same time a message may be unreadable at first;
    whoever got it asks for another copy, which comes after its successors."""
    asked_again = {failure.split()[0] for failure in phone.failures}
    return [got.text for got in phone.received if got.id not in asked_again]


def number_of(text: str) -> int:
    """Of "promo 12": 12."""
    return int(text.rpartition(" ")[2])


async def outcomes(town: Town, message_id: str) -> list[dict[str, Any]]:
    """What the plugins made of an incoming message, once they have seen it."""
    look = "SELECT replies FROM incoming_messages WHERE id = %s AND dispatched_at IS NOT NULL"
    rows = await until(lambda: town.query(look, message_id), bool)
    return list(rows[0][0])


async def test_the_echo_bot_answers_fifty_phones_four_times_each(town: Town) -> None:
    """All 200, each once and in the order in which its phone was heard, but for what could not be read at once; a daily
    limit of one and a delay of ten minutes are waived for people who just wrote."""
    await opened(town, "echo", ECHO)
    phones = [town.sandbox.phone(f"62855{number:07}", f"Customer {number}") for number in range(50)]
    for turn in range(4):
        for phone in phones:
            await phone.send(SHOP, f"{turn} of {phone.number}")
    await until(lambda: min(len(phone.received) for phone in phones), lambda least: least >= 4)
    heard = [f"echo: {row[0]}" for row in town.query("SELECT content FROM incoming_messages ORDER BY seq")]
    for phone in phones:
        assert sorted(texts(phone)) == [f"echo: {turn} of {phone.number}" for turn in range(4)]
        at_once = read_at_once(phone)
        assert at_once == [text for text in heard if text in at_once]
    waived = town.query("SELECT DISTINCT unnest(waived) FROM messages ORDER BY 1")
    assert waived == [("daily_limit",), ("delay",)]
    assert town.query("SELECT count(*) FROM daily_limits WHERE count > 0") == [(0,)]


async def test_a_bot_sees_what_a_message_quotes_and_mentions_and_quotes_in_turn(town: Town) -> None:
    """`reply_to` and `mentions` of the phone's message reach the plugin; its quote=True and mentions reach the
    phone."""
    await opened(town, "citing", CITING)
    budi = town.sandbox.phone(BUDI, "Budi")
    sent = await budi.send(SHOP, "halo")
    first = await budi.next()
    assert (first.text, first.reply_to, first.quoted_text) == (f"None  {BUDI}", sent, "halo")
    again = await budi.send(SHOP, "kata @628111111111?", reply_to=first.id, mentions=[SHOP])
    second = await budi.next()
    assert second.text == f"{first.id} {SHOP} {BUDI}"
    assert (second.reply_to, second.quoted_text, second.mentions) == (again, "kata @628111111111?", (BUDI,))


async def test_two_bots_in_one_chat_stop_and_people_are_still_answered(town: Town) -> None:
    """Two tenants whose bots answer each other get no more than 20 replies a minute into their chat: then one is
    refused, nobody answers what was not sent, and it is over. A person in another chat is answered as ever."""
    await opened(town, "echo", ECHO, ("shop", SHOP), ("other", OTHER))
    await town.sandbox.phone(SHOP).send(OTHER, "hi")
    refused = 'SELECT tenant_id FROM incoming_messages WHERE replies @> \'[{"refused": "limit_reached"}]\''
    assert len(await until(lambda: town.query(refused), bool, within=120)) == 1
    said = "SELECT count(*) FROM messages"
    [(count,)] = town.query(said)
    assert 20 <= count <= 80  # the minute may have ended once on the way
    # What a message counted names its minute, which may have been over when the row was made.
    per_minute = town.query("SELECT counted, count(*) FROM messages GROUP BY tenant_id, counted")
    assert all(counted for counted, _ in per_minute)
    assert max(times for _, times in per_minute) == 20
    budi = town.sandbox.phone(BUDI, "Budi")
    for number in (SHOP, OTHER):
        await budi.send(number, f"is {number} there?")
        assert (await budi.next()).text == f"echo: is {number} there?"
    assert town.query(said) == [(count + 2,)]


async def test_a_person_whose_number_is_hidden_is_answered(town: Town) -> None:
    """Known by LID alone, their chat is …@lid, also at the second message; the reply arrives."""
    await opened(town, "citing", CITING)
    budi = town.sandbox.phone(BUDI, "Budi")
    budi.hides_number = True
    for text in ("siapa saya?", "masih saya"):
        sent = await budi.send(SHOP, text)
        got = await budi.next()
        assert (got.text, got.reply_to, got.quoted_text) == (f"None  {budi.lid}@lid", sent, text)
    people = town.query("SELECT DISTINCT chat, sender, phone, lid FROM incoming_messages")
    assert people == [(f"{budi.lid}@lid", f"{budi.lid}@lid", None, f"{budi.lid}@lid")]


async def test_what_came_while_the_gateway_was_stopped_arrives_and_old_news_is_not_answered(town: Town) -> None:
    """WhatsApp keeps it until the next start. Older than two minutes it is shown to the bot as backlog, and the
    bot's reply is refused by that name; younger, it is answered."""
    await opened(town, "echo", ECHO)
    assert await town.stop() == 0
    budi, carol = town.sandbox.phone(BUDI, "Budi"), town.sandbox.phone("628444444444", "Carol")
    old = await budi.send(SHOP, "old", at=datetime.now(UTC) - timedelta(minutes=3))
    await carol.send(SHOP, "new", at=datetime.now(UTC) + timedelta(minutes=1))  # as a slow start does not age it
    await town.serve()
    assert (await carol.next(60)).text == "echo: new"
    [refused] = await outcomes(town, old)
    assert (refused["plugin"], refused["refused"]) == ("echo", "backlog")
    assert town.query("SELECT id, backlog FROM incoming_messages WHERE backlog") == [(old, True)]
    await budi.send(SHOP, "again")
    assert (await budi.next()).text == "echo: again"
    assert len(budi.received) == 1


async def test_a_bot_answers_while_the_tenant_sends(town: Town) -> None:
    """Traffic both ways in one chat at the same time: nothing is lost, nothing comes twice, what can be read at once
    is in order."""
    await opened(town, "echo", ECHO)
    budi = town.sandbox.phone(BUDI, "Budi")
    await town.ask("shop", "POST", "/api/whitelist", json={"number": BUDI})

    async def write() -> None:
        for number in range(15):
            await budi.send(SHOP, f"{number}")
            await asyncio.sleep(0.02)

    async def post() -> None:
        for number in range(30):
            await town.send("shop", BUDI, f"promo {number}")

    await asyncio.gather(write(), post())
    await until(lambda: len(budi.received), lambda count: count >= 45)
    at_once = read_at_once(budi)
    assert sorted(texts(budi)) == sorted([f"promo {n}" for n in range(30)] + [f"echo: {n}" for n in range(15)])
    promos = [text for text in at_once if text.startswith("promo")]
    assert promos == sorted(promos, key=number_of)
    heard = [f"echo: {row[0]}" for row in town.query("SELECT content FROM incoming_messages ORDER BY seq")]
    assert [text for text in at_once if text.startswith("echo")] == [text for text in heard if text in at_once]
