"""What happens to a tenant is a row in `events`, written with it, under a number that misses nothing."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg2
import pytest
from msgspec.structs import replace

from core.model import Incoming, StatusChange
from db.event_store import EventStore
from db.session_store import SessionStore
from tests.db.candidates import KEY, Door, candidate, limited
from tests.db.test_sessions import living

if TYPE_CHECKING:
    from db.database import Database


@pytest.fixture
async def door(db: Database) -> Door:
    door = Door(db)
    await door.store.add_tenant("shop", KEY)
    await door.store.add_tenant("cafe", "sha256:" + "1" * 64)
    return door


@pytest.fixture
async def events(db: Database) -> EventStore:
    return EventStore(db)


def incoming(number: int, tenant: str = "shop") -> Incoming:
    """A person's message."""
    return Incoming(id=f"IN{number}", tenant=tenant, chat="628111", sender="628111", content="hi", at=datetime.now(UTC))


async def told(events: EventStore, tenant: str = "shop") -> list[str]:
    """The types of all events, oldest first."""
    return [event.type for event in (await events.after(tenant, 0, 1000)).events]


async def test_a_message_s_life_is_told_in_order(door: Door, events: EventStore, db: Database) -> None:
    """Queued, sent, delivered, read: each once, with who it went to; that it is just on its way is no event."""
    await door.admit(candidate("628111", client_ref="order-1"))
    message = await door.claim()
    assert message is not None
    await door.sent(message)
    sessions = SessionStore(db)
    for status in ("delivered", "delivered", "read"):
        await sessions.acked("shop", ["WA"], status, 1)
    page = await events.after("shop", 0, 100)
    assert [(event.seq, event.type) for event in page.events] == [
        (1, "message.queued"), (2, "message.sent"), (3, "message.delivered"), (4, "message.read"),
    ]  # fmt: skip
    assert {event.about for event in page.events} == {message.id}
    about = {"id": message.id, "to": "628111", "kind": "text", "client_ref": "order-1"}
    assert page.events[0].data == {**about, "status": "queued"}
    assert page.events[1].data == {**about, "status": "sent", "wa_id": "WA"}
    assert (page.next, page.first, page.last) == (4, 1, 4)


async def test_messages_that_do_not_go_say_why(door: Door, events: EventStore) -> None:
    """Failed, cancelled, expired: with their cause."""
    outcomes = await door.admit(candidate("628111"), candidate("628222"), candidate("628333", lifetime=-1))
    await door.store.cancel("shop", outcomes[1].message_id)
    await door.store.expire()
    message = await door.claim()
    assert message is not None
    change = StatusChange(
        tenant="shop", message_id=message.id, to="628111", status="failed", at=datetime.now(UTC), cause="bad_address"
    )
    await door.store.record(change, door.processes, gives_back=True)
    page = await events.after("shop", 3, 100)
    assert [(event.type, event.data.get("cause")) for event in page.events] == [
        ("message.cancelled", None), ("message.expired", "not_sent_in_time"), ("message.failed", "bad_address"),
    ]  # fmt: skip


async def test_an_event_tells_what_was_so_when_it_happened(door: Door, events: EventStore, db: Database) -> None:
    """A message that goes out once more has another id at WhatsApp then, and one that had none may get one: what is
    told of earlier events stays, to the letter."""
    _, second = await door.admit(candidate("628111"), candidate("628222"))
    message = await door.claim()
    assert message is not None
    await door.sent(message)
    await door.store.cancel("shop", second.message_id)
    await db.execute("UPDATE messages SET status = 'sending', overdue = false, claimed_at = now() - interval '1 hour'")
    assert len(await door.store.overdue()) == 2
    before = [event.data for event in (await events.after("shop", 2, 10)).events]
    assert [(data["status"], data.get("wa_id")) for data in before] == [
        ("sent", "WA"), ("cancelled", None), ("sending", "WA"), ("sending", None),
    ]  # fmt: skip
    await db.execute("UPDATE messages SET status = 'delivered', wa_id = 'ANOTHER'")
    after = [event.data for event in (await events.after("shop", 2, 10)).events]
    assert json.dumps(after[:4]) == json.dumps(before)
    assert [data["wa_id"] for data in after[4:]] == ["ANOTHER", "ANOTHER"]


async def test_an_event_from_before_they_kept_it_tells_the_row_s_id(
    door: Door, events: EventStore, db: Database
) -> None:
    """An upgrade takes nothing from what was told; but of a message that was only queued there was no id."""
    await door.admit(candidate("628111"))
    message = await door.claim()
    assert message is not None
    await door.sent(message)
    await db.execute("UPDATE events SET data = NULL")
    assert [event.data.get("wa_id") for event in (await events.after("shop", 0, 10)).events] == [None, "WA"]


async def test_a_message_that_is_put_back_is_no_news(door: Door, events: EventStore) -> None:
    """It waits again, as it did."""
    await door.admit(candidate())
    message = await door.claim()
    assert message is not None
    await door.store.requeue(message.id, door.processes, "not_connected")
    assert await told(events) == ["message.queued"]


async def test_an_incoming_message_is_told_whole_and_once(door: Door, events: EventStore) -> None:
    """However often WhatsApp brings it; its time is told as all times are."""
    message = incoming(1)
    assert [await door.store.add_incoming(message) for _ in range(2)] == [True, False]
    [event] = (await events.after("shop", 0, 10)).events
    assert event.data["at"] == f"{message.at:%Y-%m-%dT%H:%M:%S.%f}Z"
    assert (event.type, event.chat, event.about) == ("message.received", "628111", "IN1")
    assert {key: event.data[key] for key in ("id", "chat", "sender", "content", "kind", "backlog")} == {
        "id": "IN1", "chat": "628111", "sender": "628111", "content": "hi", "kind": "text", "backlog": False,
    }  # fmt: skip


async def test_a_reply_that_was_refused_is_told_once(door: Door, events: EventStore) -> None:
    """With its reason; replies that were accepted are messages and tell of themselves."""
    message = incoming(1)
    await door.store.add_incoming(message)
    for _ in range(2):
        refused = {"plugin": "echo", "refused": "backlog", "detail": "old"}
        await door.store.incoming_done(message, [{"id": "x"}, refused])
    [event] = (await events.after("shop", 1, 10)).events
    assert (event.type, event.chat, event.about) == ("message.reply_refused", "628111", "IN1")
    assert event.data == {"id": "IN1", "chat": "628111", "plugin": "echo", "refused": "backlog", "detail": "old"}


async def test_a_session_s_states_are_told(door: Door, events: EventStore, db: Database, database_url: str) -> None:
    """Each new state with its reason; a new reason for the same state is no event."""
    sessions = SessionStore(db)
    with living(database_url, 1):
        await sessions.lease(1, ["shop"], 60)
        await sessions.changed(1, "shop", "connecting", None)
        await sessions.changed(1, "shop", "connected", None)
        await sessions.changed(1, "shop", "restricted", "463")
        await sessions.changed(1, "shop", "restricted", "463 again")
    page = await events.after("shop", 0, 10)
    assert [(event.type, event.data) for event in page.events] == [
        ("session.connecting", {"state": "connecting"}),
        ("session.connected", {"state": "connected"}),
        ("session.restricted", {"state": "restricted", "reason": "463"}),
    ]


async def test_tenants_have_numbers_of_their_own(door: Door, events: EventStore) -> None:
    """One batch with messages of two tenants counts each from 1; neither reads the other's."""
    batch = [replace(candidate(f"62811{n}", tenant=("shop", "cafe")[n % 2]), key=None) for n in range(6)]
    await door.admit(*batch)
    for number, tenant in enumerate(("shop", "cafe")):
        page = await events.after(tenant, 0, 10)
        assert [event.seq for event in page.events] == [1, 2, 3]
        assert [event.about for event in page.events] == [one.message.id for one in batch[number::2]]


async def test_pages_and_types(door: Door, events: EventStore) -> None:
    """A page ends where it is full, passes over other types to the end, and tells where to go on."""
    await door.admit(*(candidate(f"62811{number}") for number in range(3)))
    await door.store.add_incoming(incoming(1))
    first = await events.after("shop", 0, 2)
    assert ([event.seq for event in first.events], first.next) == ([1, 2], 2)
    received = await events.after("shop", 0, 2, ["message.received", "session.*"])
    assert ([event.seq for event in received.events], received.next) == ([4], 4)
    nothing = await events.after("shop", 0, 2, ["message_received", "session.*"])
    assert (nothing.events, nothing.next, nothing.last) == ((), 4, 4)
    assert [event.seq for event in (await events.after("shop", 2, 100, ["message.*"])).events] == [3, 4]
    beyond = await events.after("nobody", 7, 100)
    assert (beyond.events, beyond.next, beyond.first, beyond.last) == ((), 7, 1, 0)


async def test_whoever_has_read_up_to_a_number_has_missed_none_below(
    door: Door, events: EventStore, database_url: str
) -> None:
    """While a transaction that has taken a number is open, no later number can be seen: the others wait for it."""
    slow = psycopg2.connect(database_url)
    try:
        with slow.cursor() as cursor:
            cursor.execute("SELECT tell_v1('shop', 'session.slow', NULL, NULL, NULL, NULL)")
        waiting = asyncio.ensure_future(door.store.add_incoming(incoming(1)))
        other = await door.store.add_incoming(incoming(1, "cafe"))
        await asyncio.sleep(0.2)
        assert (await told(events), waiting.done(), other) == ([], False, True)
        slow.commit()
        assert await waiting
        assert await told(events) == ["session.slow", "message.received"]
    finally:
        slow.close()


async def test_numbers_have_no_gap_whoever_writes(door: Door, events: EventStore) -> None:
    """Admission, sending with quotas that come back, cancelling and incoming messages at once, for two tenants: nobody
    waits for ever, and every number is there."""

    async def admits(tenant: str) -> None:
        for number in range(15):
            await door.admit(replace(candidate(f"62811{number % 3}", tenant=tenant, said=limited(1000)), key=None))

    async def fails(tenant: str, process: int) -> None:
        failed = 0
        while failed < 5:
            claimed = await door.store.claim(tenant, process)
            if (message := getattr(claimed, "message", None)) is not None:
                change = StatusChange(
                    tenant=tenant, message_id=message.id, to=message.to, status="failed", at=datetime.now(UTC)
                )
                await door.store.record(change, process, gives_back=True)
                failed += 1

    async def receives(tenant: str) -> None:
        for number in range(15):
            await door.store.add_incoming(incoming(number, tenant))

    await asyncio.gather(
        *(work for tenant in ("shop", "cafe") for work in (admits(tenant), admits(tenant), receives(tenant))),
        *(fails(tenant, process) for tenant in ("shop", "cafe") for process in (1, 2)),
    )
    for tenant in ("shop", "cafe"):
        page = await events.after(tenant, 0, 1000)
        assert [event.seq for event in page.events] == list(range(1, page.last + 1))
        assert page.last == 2 * 15 + 15 + 2 * 5
        assert page.next == page.last
    await door.check_books()


async def test_old_events_go_and_their_numbers_are_not_given_again(
    door: Door, events: EventStore, db: Database
) -> None:
    """What is kept begins at `first`; an empty table begins at the next number."""
    await door.admit(*(candidate(f"62811{number}") for number in range(3)))
    await db.execute("UPDATE events SET at = at - interval '31 days' WHERE seq < 3")
    assert [await events.forget(30, 1), await events.forget(30, 5), await events.forget(30, 5)] == [1, 1, 0]
    assert (await events.after("shop", 0, 10)).first == 3
    await db.execute("UPDATE events SET at = at - interval '31 days'")
    await events.forget(30, 5)
    page = await events.after("shop", 0, 10)
    assert (page.events, page.first, page.last) == ((), 4, 3)
    await door.store.add_incoming(incoming(1))
    assert [event.seq for event in (await events.after("shop", 3, 10)).events] == [4]
