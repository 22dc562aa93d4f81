"""What is deleted with time, and with its tenant; what is not; and who waits for whom meanwhile."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg2
import pytest

from core.decisions import Exempt, Listed, Quota
from core.model import Incoming
from core.tenants import key_digest
from db.callback_store import CallbackStore
from db.event_store import EventStore
from db.session_store import SessionStore
from tests.db.candidates import KEY, Door, candidate, says
from tests.db.conftest import Administrator
from tests.db.eventually import eventually
from tests.db.test_sessions import living

if TYPE_CHECKING:
    from db.database import Database

STATUSES = ("queued", "sending", "sent", "delivered", "read", "played", "failed", "expired", "unknown", "cancelled")
LONG_AGO = """
UPDATE messages m
   SET id = coalesce(%(id)s::uuid, (left(first_id_of(x.began)::text, 13) || substr(id::text, 14))::uuid),
       status = %(status)s, created_at = x.began, expires_at = x.began, answers = %(answers)s,
       settled_at = CASE WHEN %(status)s NOT IN ('queued', 'sending', 'expired', 'cancelled') THEN x.news END,
       history = CASE WHEN %(status)s = 'queued' THEN '[]'::jsonb
                      ELSE jsonb_build_array(jsonb_build_object('status', %(status)s, 'at', x.news)) END
  FROM (SELECT now() - make_interval(days => %(days)s) AS began, now() - make_interval(days => %(news)s) AS news) x
 WHERE id = %(was)s::uuid RETURNING id::text
"""


@pytest.fixture
async def door(db: Database) -> Door:
    door = Door(db)
    await door.store.add_tenant("shop", KEY)
    return door


@pytest.fixture
def sql(database_url: str) -> Administrator:
    """Somebody with psql."""
    return Administrator(database_url)


async def message(
    door: Door, status: str, days: int = 40, news: int | None = None, *, reply: bool = False, ref: str | None = None
) -> str:
    """The id of one that was queued `days` ago and had its status `news` days ago. A reply's id tells no time."""
    [outcome] = await door.admit(candidate(f"628{uuid.uuid4().int % 10**9}", client_ref=ref))
    parameters = {
        "was": outcome.message_id, "id": f"ffffffff{str(uuid.uuid4())[8:]}" if reply else None,
        "status": status, "days": days, "news": news or days, "answers": "IN1" if reply else None,
    }  # fmt: skip
    row = await door.db.fetch_one(LONG_AGO, parameters)
    assert row is not None
    return str(row[0])


async def left(door: Door) -> set[str]:
    """The ids of the messages that are there."""
    return {row[0] for row in await door.db.fetch("SELECT id::text FROM messages")}


def incoming(number: int, tenant: str = "shop") -> Incoming:
    """A person's message."""
    return Incoming(id=f"IN{number}", tenant=tenant, chat="628111", sender="628111", content="hi", at=datetime.now(UTC))


async def test_messages_of_which_there_was_no_news_for_long_go(door: Door) -> None:
    """Whatever their last word was, `unknown` included; never one that waits or is on its way."""
    ids = {status: await message(door, status) for status in STATUSES}
    assert await door.store.forget_messages(30, 100) == 8
    assert await left(door) == {ids["queued"], ids["sending"]}
    assert await door.store.forget_messages(30, 100) == 0


async def test_news_keep_a_message(door: Door) -> None:
    """Read yesterday, cancelled yesterday though it was made long ago, or young; and `unknown` while it may yet be
    sent once more."""
    kept = {
        await message(door, "read", 40, 1),
        await message(door, "cancelled", 40, 1),
        await message(door, "sent", 29),
    }
    again = await message(door, "unknown")
    await door.db.execute("UPDATE messages SET expires_at = now() + interval '1 day' WHERE id = %s::uuid", (again,))
    gone = await message(door, "cancelled", 40, 31)
    assert gone not in kept
    assert await door.store.forget_messages(30, 100) == 1
    assert await left(door) == {*kept, again}


async def test_replies_go_too(door: Door) -> None:
    """Their ids are made of the message that they answer, and not of the time."""
    await message(door, "read", reply=True)
    kept = {await message(door, "read", 40, 1, reply=True), await message(door, "queued", reply=True)}
    assert await door.store.forget_messages(30, 100) == 1
    assert await left(door) == kept


async def test_messages_go_some_at_a_time_with_their_attempts(door: Door) -> None:
    """Others' attempts stay."""
    ids = [await message(door, "unknown", reply=reply) for reply in (False, True)] + [await message(door, "sending")]
    for each in ids:
        await door.db.execute(
            "INSERT INTO attempts (secret, message_id, tenant_id, process, fence, began_at)"
            " VALUES (uuid_send(%(id)s::uuid), %(id)s::uuid, 'shop', 1, 1, now())",
            {"id": each},
        )
    assert [await door.store.forget_messages(30, 1) for _ in range(3)] == [1, 1, 0]
    assert await door.db.fetch("SELECT message_id::text FROM attempts") == [(ids[2],)]


async def test_a_repeated_request_of_a_deleted_message_sends_nothing(door: Door) -> None:
    """The reference lives for 30 days of its own: the answer is the id, and that nobody knows any more."""
    deleted = await message(door, "read", ref="order-7")
    await door.db.execute("UPDATE idempotency_keys SET message_id = %s::uuid", (deleted,))
    assert await door.store.forget_messages(7, 100) == 1
    [again] = await door.admit(candidate(client_ref="order-7"))
    assert (again.outcome, again.message_id, again.status) == ("replayed", deleted, "unknown")
    found = await door.store.replay("shop", "order-7")
    assert found is not None
    assert (found[1].message_id, found[1].status) == (deleted, "unknown")
    assert await left(door) == set()


async def test_incoming_messages_go_when_they_were_shown(door: Door) -> None:
    """Long after they came; one that no plugin has seen stays, and so does a young one."""
    for number in range(4):
        await door.store.add_incoming(incoming(number))
        if number != 1:
            await door.store.incoming_done(incoming(number), [])
    await door.db.execute("UPDATE incoming_messages SET received_at = now() - interval '31 days' WHERE id <> 'IN3'")
    assert [await door.store.forget_incoming(30, 1) for _ in range(3)] == [1, 1, 0]
    assert sorted(await door.db.fetch("SELECT id FROM incoming_messages")) == [("IN1",), ("IN3",)]


async def test_an_event_of_a_deleted_message_still_tells_whose_it_was(door: Door, db: Database) -> None:
    """Should it be there longer than the message."""
    await door.store.add_incoming(incoming(1))
    await db.execute("DELETE FROM incoming_messages")
    [event] = (await EventStore(db).after("shop", 0, 10)).events
    assert (event.about, event.data["id"], event.data["chat"]) == ("IN1", "IN1", "628111")


async def test_events_go_oldest_first_and_leave_no_hole(db: Database, sql: Administrator) -> None:
    """Each tenant's up to the first that is young, also where a clock went back; however few go at a time."""
    events = EventStore(db)
    for tenant in ("cafe", "shop"):
        for _ in range(5):
            sql.rows("SELECT tell_v1(%s, 'session.connected', NULL, NULL, NULL, NULL)", (tenant,))
    sql.rows("UPDATE events SET at = at - interval '31 days' WHERE seq <> 4")
    assert await events.forget(30, 2) == 2
    spans = sql.rows("SELECT min(seq), max(seq), count(*)::int FROM events GROUP BY tenant_id ORDER BY 1")
    assert spans == [(1, 5, 5), (3, 5, 3)]
    assert [await events.forget(30, 3), await events.forget(30, 3)] == [3, 1]
    assert sql.rows("SELECT tenant_id, array_agg(seq ORDER BY seq) FROM events GROUP BY 1 ORDER BY 1") == [
        ("cafe", [4, 5]),
        ("shop", [4, 5]),
    ]
    assert await events.forget(30, 3) == 0


async def test_what_was_written_to_a_removed_tenant_is_not_the_next_ones(door: Door, database_url: str) -> None:
    """It is shown to nobody, and makes nobody known who gets the id; other tenants' messages stay."""
    await door.store.add_tenant("cafe", key_digest("sk_c"))
    for tenant in ("shop", "cafe"):
        await door.store.add_incoming(incoming(1, tenant))
        await door.store.add_incoming(incoming(2, tenant))
        await door.store.incoming_done(incoming(1, tenant), [])
    assert await door.store.remove_tenant("shop")
    assert sorted(await door.db.fetch("SELECT tenant_id, id FROM incoming_messages")) == [
        ("cafe", "IN1"),
        ("cafe", "IN2"),
    ]
    await door.store.add_tenant("shop", KEY)
    said = says("bot", Quota(0), Exempt(("bot",), when=Listed.REPLY))
    [outcome] = await door.admit(candidate("628111", said=said))
    assert outcome.outcome == "over"
    assert not await SessionStore(door.db).has_heard_from("shop", "628111")
    with living(database_url, 7):
        assert [one.tenant for _, one in await door.store.claim_incoming(7, [], 10)] == ["cafe"]


async def test_what_comes_for_a_tenant_that_is_gone_is_shown_to_nobody(door: Door, database_url: str) -> None:
    """Its session may be open for a moment longer. Whoever gets the id is not shown it; otherwise it is deleted."""
    await door.store.add_tenant("cafe", key_digest("sk_c"))
    for tenant in ("shop", "cafe"):
        await door.store.remove_tenant(tenant)
        await door.store.add_incoming(incoming(1, tenant))
    with living(database_url, 7):
        assert await door.store.claim_incoming(7, [], 10) == []
        await door.store.add_tenant("shop", KEY)
        assert await door.store.claim_incoming(7, [], 10) == []
    assert await door.db.fetch("SELECT tenant_id FROM incoming_messages") == [("cafe",)]
    assert await door.store.forget_incoming(30, 100) == 1
    assert await door.db.fetch("SELECT FROM incoming_messages") == []


async def test_removing_a_tenant_waits_for_whoever_changes_its_deliveries(
    door: Door, sql: Administrator, database_url: str
) -> None:
    """And takes none of them before: nobody waits in a circle."""
    callbacks = CallbackStore(door.db)
    await callbacks.begin([("shop", "erp")], 0.0)
    sql.rows("SELECT tell_v1('shop', 'session.connected', NULL, NULL, NULL, NULL)")
    assert await callbacks.claim(("shop", "erp"), ["*"], 7, [], 1) is not None
    posting = psycopg2.connect(database_url)
    try:
        with posting.cursor() as cursor:
            cursor.execute("SELECT FROM callback_cursors FOR UPDATE")
            removal = asyncio.ensure_future(door.store.remove_tenant("shop"))
            waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            await eventually(lambda: sql.rows(waits))
            cursor.execute("UPDATE callback_deliveries SET status = 'delivered', process = NULL")
            assert cursor.rowcount == 1
        posting.commit()
        assert await removal
    finally:
        posting.close()
    assert sql.rows("SELECT endpoint FROM callback_cursors UNION ALL SELECT endpoint FROM callback_deliveries") == []


async def test_who_deletes_takes_turns(door: Door, sql: Administrator, database_url: str) -> None:
    """Two gateways at their hourly round: the second deletes what the first has left."""
    for _ in range(2):
        await message(door, "read")
    first = psycopg2.connect(database_url)
    try:
        with first.cursor() as cursor:
            cursor.execute("SELECT forget_messages_v1('30 days', 1)")
            second = asyncio.ensure_future(door.store.forget_messages(30, 10))
            waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            await eventually(lambda: sql.rows(waits))
        first.commit()
        assert await second == 1
    finally:
        first.close()
    assert await left(door) == set()
