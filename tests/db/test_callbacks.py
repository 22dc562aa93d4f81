"""Events become deliveries once, go out in order per chat, and come back from processes that died."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from core.callback_rows import Posting, Result
from core.tenants import key_digest
from db.callback_store import CallbackStore
from db.event_store import EventStore
from db.store import Store
from tests.db.conftest import Administrator
from tests.db.test_sessions import living

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.callback_rows import Work
    from db.database import Database

ERP, LOG = ("shop", "erp"), ("shop", "log")
FAILED = Result("pending", 500, "no")
DELIVERED = Result("delivered", 200)
PROCESS = 7


@pytest.fixture
def store(db: Database) -> CallbackStore:
    return CallbackStore(db)


@pytest.fixture
def sql(database_url: str) -> Administrator:
    """Somebody with psql."""
    return Administrator(database_url)


def tell(sql: Administrator, *chats: str | None, kind: str = "message.sent", tenant: str = "shop") -> None:
    """One event for each of these chats."""
    for chat in chats:
        sql.rows("SELECT tell_v1(%s, %s, %s, NULL, NULL, NULL)", (tenant, kind, chat))


async def claim(
    store: CallbackStore,
    where: tuple[str, str] = ERP,
    *,
    process: int = PROCESS,
    in_hand: Sequence[Posting] = (),
    types: Sequence[str] = ("*",),
    most: int = 4,
) -> Work:
    """What that process gets; the endpoint has begun."""
    work = await store.claim(where, types, process, [posting.id for posting in in_hand], most)
    assert work is not None
    return work


async def widen(store: CallbackStore, sql: Administrator, where: tuple[str, str] = ERP) -> None:
    """As after two successes: four posts may be under way."""
    await store.begin([where], 0.0)
    sql.rows("UPDATE callback_cursors SET width = 4")


def seqs(work: Work) -> list[int]:
    return [posting.seq for posting in work.postings]


async def test_a_new_endpoint_begins_at_the_present_end(store: CallbackStore, sql: Administrator) -> None:
    """It is not sent what was before; a second `begin` changes nothing; and before the first there is no claim."""
    tell(sql, "1", "2")
    assert await store.claim(ERP, ["*"], PROCESS, [], 4) is None
    assert await store.due([ERP]) == [ERP]
    await store.begin([ERP], 0.0)
    assert await store.due([ERP]) == []
    assert seqs(await claim(store)) == []
    tell(sql, "3")
    await store.begin([ERP], 0.0)
    assert await store.due([ERP]) == [ERP]
    assert seqs(await claim(store)) == [3]


async def test_what_happened_since_the_gateway_began_is_sent(store: CallbackStore, sql: Administrator) -> None:
    """To the endpoints of tenants that come later: their first events are not lost."""
    tell(sql, "1", "2", "3")
    sql.rows("UPDATE events SET at = at - interval '1 hour' WHERE seq = 1")
    await store.begin([ERP], 60.0)
    await widen(store, sql)
    assert seqs(await claim(store)) == [2, 3]


async def test_two_gateways_at_once_make_each_delivery_once(
    store: CallbackStore, sql: Administrator, database_url: str
) -> None:
    """Whoever claims, each event becomes one delivery, and each delivery is one gateway's."""
    await widen(store, sql)
    tell(sql, *(str(number) for number in range(20)))
    with living(database_url, *range(100, 110)):
        works = await asyncio.gather(*(claim(store, process=process, most=2) for process in range(100, 110)))
    claimed = [seq for work in works for seq in seqs(work)]
    assert sorted(claimed) == sorted(set(claimed))
    assert len(claimed) == 4
    assert sql.rows("SELECT count(*), count(DISTINCT seq), max(seq) FROM callback_deliveries") == [(20, 20, 20)]


async def test_types_are_chosen(store: CallbackStore, sql: Administrator) -> None:
    """What an endpoint did not ask for is passed over once and for all."""
    await widen(store, sql)
    tell(sql, "1")
    tell(sql, None, kind="session.connected")
    tell(sql, "1", kind="message.received")
    work = await claim(store, types=["session.*", "message.received"])
    assert seqs(work) == [2, 3]
    assert sql.rows("SELECT seq, type FROM callback_deliveries ORDER BY 1") == [
        (2, "session.connected"), (3, "message.received"),
    ]  # fmt: skip
    assert seqs(await claim(store, in_hand=work.postings)) == []


async def test_a_chat_is_told_in_order(store: CallbackStore, sql: Administrator) -> None:
    """The next of a chat goes when the one before has arrived, or is dead; other chats, and what is of no chat, go
    beside it."""
    await widen(store, sql)
    tell(sql, "a", "a", "b", None, None, "a")
    first = (await claim(store)).postings
    assert [posting.seq for posting in first] == [1, 3, 4]
    a, b, session = first
    assert await store.record(a.id, PROCESS, FAILED)
    sql.rows("UPDATE callback_cursors SET width = 4")
    again = (await claim(store, in_hand=[b, session])).postings
    assert [posting.seq for posting in again] == [1]
    assert (again[0].id, again[0].tries, again[0].failures) == (a.id, 1, 1)
    await store.record(b.id, PROCESS, DELIVERED)
    await store.record(session.id, PROCESS, DELIVERED)
    await store.record(a.id, PROCESS, Result("dead", 410, "gone"))
    rest = (await claim(store)).postings
    assert [posting.seq for posting in rest] == [2, 5]
    await store.record(rest[0].id, PROCESS, DELIVERED)
    tell(sql, "a")
    assert seqs(await claim(store, in_hand=[rest[1]])) == [6]


async def test_endpoints_do_not_wait_for_each_other(store: CallbackStore, sql: Administrator) -> None:
    """One that rests, or whose chat is held up, says nothing about another."""
    await widen(store, sql, ERP)
    await widen(store, sql, LOG)
    tell(sql, "a", "a")
    [posting] = (await claim(store)).postings
    await store.record(posting.id, PROCESS, Result("pending", 503, "later", wait=3600, rest=3600))
    [other] = (await claim(store, LOG)).postings
    await store.record(other.id, PROCESS, DELIVERED)
    assert seqs(await claim(store, LOG)) == [2]
    assert seqs(await claim(store)) == []
    assert await store.due([ERP, LOG]) == [LOG]


async def test_a_success_lets_more_go_at_once(store: CallbackStore, sql: Administrator) -> None:
    """One, two, four, and no more; those of several gateways count together."""
    await store.begin([ERP], 0.0)
    tell(sql, *(str(number) for number in range(20)))
    for expected in (1, 2, 4, 4):
        work = await claim(store)
        assert (len(work.postings), work.full) == (expected, True)
        assert not (await claim(store, in_hand=work.postings)).postings
        for posting in work.postings:
            await store.record(posting.id, PROCESS, DELIVERED)


async def test_places_are_shared_with_living_gateways(
    store: CallbackStore, sql: Administrator, database_url: str
) -> None:
    """What another one posts takes a place; when it dies, the place and the delivery are free, under the same id."""
    await widen(store, sql)
    tell(sql, "1", "2", "3", "4", "5")
    with living(database_url, 8):
        theirs = await claim(store, process=8, most=3)
        mine = await claim(store)
        assert (seqs(theirs), seqs(mine), mine.full) == ([1, 2, 3], [4], True)
        assert await store.record(mine.postings[0].id, PROCESS, DELIVERED)
    assert await store.due([ERP]) == [ERP]
    work = await claim(store)
    assert seqs(work) == [1, 2, 3, 5]
    assert [posting.id for posting in work.postings[:3]] == [posting.id for posting in theirs.postings]
    assert not await store.record(theirs.postings[0].id, 8, DELIVERED)
    assert sql.rows("SELECT status FROM callback_deliveries WHERE seq = 1") == [("pending",)]


async def test_an_answer_that_got_lost_is_claimed_again(store: CallbackStore, sql: Administrator) -> None:
    """What has this process's number and is not in its hands is free."""
    await widen(store, sql)
    tell(sql, "1", "2")
    first = await claim(store)
    assert seqs(await claim(store, in_hand=first.postings[:1])) == [2]


async def test_three_failures_in_a_row_and_it_is_probed_by_one(store: CallbackStore, sql: Administrator) -> None:
    """While it rests nothing goes, then one at a time; when one arrives, what had to wait for the endpoint only goes at
    once, two by two."""
    await widen(store, sql)
    tell(sql, "1", "2", "3", "4", "5")
    for posting in (await claim(store)).postings[:3]:
        await store.record(posting.id, PROCESS, Result("pending", 500, "no", wait=3600, rest=None))
    [probe] = (await claim(store)).postings
    assert probe.failures == 3
    await store.record(probe.id, PROCESS, Result("pending", None, "no answer", wait=3600, rest=3600))
    assert (await claim(store)).postings == ()
    assert await store.due([ERP]) == []
    [state] = await store.endpoints("shop")
    assert (state.pending, state.dead, state.failures, state.rests_until is None) == (5, 0, 4, False)
    sql.rows("UPDATE callback_cursors SET rests_until = now()")
    [probe] = (await claim(store)).postings
    assert probe.seq == 5
    await store.record(probe.id, PROCESS, DELIVERED)
    assert seqs(await claim(store)) == [1, 2]


async def test_a_day_is_long_enough(store: CallbackStore, sql: Administrator) -> None:
    """What was tried and whose time is over is dead, and is told once; what was never tried is tried once, unless the
    endpoint fails all the time."""
    await widen(store, sql)
    tell(sql, "1", "2", "2")
    first, second = (await claim(store)).postings
    await store.record(first.id, PROCESS, Result("pending", 500, "no", wait=3600))
    sql.rows("UPDATE callback_deliveries SET until = now() - interval '1 second', process = NULL")
    work = await claim(store)
    assert ([dead for dead, _ in work.dead], seqs(work)) == ([first.id], [2])
    await store.record(second.id, PROCESS, Result("dead", 500, "no"))
    assert seqs(await claim(store)) == [3]
    sql.rows("UPDATE callback_deliveries SET process = NULL")
    sql.rows("UPDATE callback_cursors SET failures = 3")
    work = await claim(store)
    assert ([kind for _, kind in work.dead], work.postings) == (["message.sent"], ())
    dead = await store.deliveries("shop", 10, status="dead")
    assert [(one.seq, one.tries, one.last_status, one.next_at) for one in dead] == [
        (3, 0, None, None), (2, 1, 500, None), (1, 1, 500, None),
    ]  # fmt: skip
    assert (await claim(store)).dead == ()


async def test_trying_again_keeps_id_and_order(store: CallbackStore, sql: Administrator) -> None:
    """Dead and delivered ones; not what is pending; whatever of the chat is pending behind it waits for it."""
    await widen(store, sql)
    tell(sql, "a", "a", "a")
    for _ in range(2):
        [posting] = (await claim(store)).postings
        await store.record(posting.id, PROCESS, Result("dead", 410, "gone"))
    dead = await store.dead("shop", None, 10)
    assert len(dead) == len(await store.dead("shop", "erp", 10)) == 2
    assert await store.dead("shop", "log", 10) == await store.dead("cafe", None, 10) == []
    assert await store.redeliver(dead) == 2
    assert await store.redeliver(dead) == 0
    for seq in (1, 2, 3):
        [posting] = (await claim(store)).postings
        assert (posting.seq, posting.tries) == (seq, 0)
        await store.record(posting.id, PROCESS, DELIVERED)
    delivered = await store.deliveries("shop", 10)
    assert [one.id for one in delivered][1:] == list(reversed(dead))
    assert {(one.status, one.last_status, one.last_error) for one in delivered} == {("delivered", 200, None)}


async def test_pages(store: CallbackStore, sql: Administrator) -> None:
    """The newest event first; one page goes on where the other ended; another tenant's cursor leads nowhere."""
    await store.begin([ERP, LOG, ("cafe", "erp")], 0.0)
    tell(sql, "1", "2", "3")
    tell(sql, "1", tenant="cafe")
    for where in (ERP, LOG, ("cafe", "erp")):
        await claim(store, where)
    everything = await store.deliveries("shop", 100)
    assert [(one.seq, one.endpoint) for one in everything] == [
        (3, "log"), (3, "erp"), (2, "log"), (2, "erp"), (1, "log"), (1, "erp"),
    ]  # fmt: skip
    page = await store.deliveries("shop", 4)
    assert page + await store.deliveries("shop", 4, after=page[-1].id) == everything
    assert await store.deliveries("cafe", 4, after=page[-1].id) == []
    assert [one.tenant for one in await store.deliveries(None, 100)] == ["cafe", *["shop"] * 6]
    assert [one.seq for one in await store.deliveries("shop", 100, endpoint="erp", status="pending")] == [3, 2, 1]
    assert (await store.delivery(page[0].id, "shop"), await store.delivery(page[0].id, "cafe")) == (page[0], None)


async def test_what_is_old_is_forgotten(store: CallbackStore, sql: Administrator, db: Database) -> None:
    """Deliveries and events; and what nobody posts any more is dead a day after its day, so that what is behind it is
    not held for ever."""
    await widen(store, sql)
    tell(sql, "a", "a", "a")
    await claim(store)
    sql.rows("UPDATE callback_deliveries SET process = NULL")
    sql.rows("UPDATE callback_deliveries SET at = now() - interval '31 days' WHERE seq = 1")
    sql.rows("UPDATE callback_deliveries SET until = now() - interval '25 hours' WHERE seq < 3")
    sql.rows("UPDATE events SET at = now() - interval '31 days' WHERE seq = 1")
    assert await store.forget(30, 100) == 1
    assert await EventStore(db).forget(30, 100) == 1
    assert sql.rows("SELECT seq, status, held FROM callback_deliveries ORDER BY seq") == [
        (2, "dead", True), (3, "pending", False),
    ]  # fmt: skip


async def test_a_removed_tenant_leaves_nothing_to_the_next(
    store: CallbackStore, sql: Administrator, db: Database
) -> None:
    """Whoever gets its id sees no event of its, and is sent none; numbers go on, so that old cursors are void."""
    await Store(db).add_tenant("shop", key_digest("sk_a"))
    await store.begin([ERP], 0.0)
    tell(sql, "a", "a")
    await claim(store)
    sql.rows("INSERT INTO arrivals (tenant_id, id, chat, sender) VALUES ('shop', 'M', 'c', 'c')")
    sql.rows("INSERT INTO event_readers (tenant_id, reader, seq) VALUES ('shop', 'plugins', 1)")
    assert await Store(db).remove_tenant("shop")
    for table in ("events", "arrivals", "event_readers", "callback_cursors", "callback_deliveries"):
        assert sql.rows(f"SELECT count(*) FROM {table}") == [(0,)], table
    await store.begin([ERP], 3600.0)
    tell(sql, "b")
    assert seqs(await claim(store)) == [3]


async def test_what_a_removed_tenant_s_last_messages_came_to_is_not_the_next_one_s(
    sql: Administrator, db: Database
) -> None:
    """A message that was in flight has its end when the tenant is gone: whoever gets the id is not told of it. Who
    is there already loses nothing."""
    store = Store(db)
    await store.add_tenant("shop", key_digest("sk_a"))
    await store.remove_tenant("shop")
    tell(sql, "628111", kind="message.unknown")
    assert await store.add_tenant("shop", key_digest("sk_b"))
    assert (await EventStore(db).after("shop", 0, 10)).events == ()
    tell(sql, "628222")
    assert not await store.add_tenant("shop", key_digest("sk_c"))
    assert [event.seq for event in (await EventStore(db).after("shop", 0, 10)).events] == [2]


async def test_what_is_pending_is_not_forgotten_however_old_its_event_is(
    store: CallbackStore, sql: Administrator
) -> None:
    """Retried after a month, or kept for a day only: it keeps its place, and what is behind it in its chat goes."""
    await widen(store, sql)
    tell(sql, "a", "a")
    [first] = (await claim(store)).postings
    sql.rows("UPDATE callback_deliveries SET at = now() - interval '31 days' WHERE seq = 1")
    assert await store.forget(30, 100) == 0
    assert await store.record(first.id, PROCESS, DELIVERED)
    assert await store.forget(30, 100) == 1
    assert seqs(await claim(store)) == [2]


async def test_what_a_dead_process_had_for_an_endpoint_that_is_gone_is_dead_too(
    store: CallbackStore, sql: Administrator, database_url: str
) -> None:
    """A day after its day; not while the process lives."""
    await widen(store, sql)
    tell(sql, "a", "a")
    with living(database_url, 8):
        await claim(store, process=8)
        sql.rows("UPDATE callback_deliveries SET until = now() - interval '25 hours' WHERE seq = 1")
        await store.forget(30, 100)
        assert [one.status for one in await store.deliveries("shop", 10)] == ["pending", "pending"]
    await store.forget(30, 100)
    assert sql.rows("SELECT seq, status, process, held FROM callback_deliveries ORDER BY 1") == [
        (1, "dead", None, False), (2, "pending", None, False),
    ]  # fmt: skip
