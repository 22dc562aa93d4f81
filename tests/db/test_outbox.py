"""What leaves the outbox, when and in which order; and what comes back when it does not leave."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from core.model import PRIORITIES, Incoming, Outgoing, StatusChange
from core.outbox import Claimed, Wait
from db.session_store import SessionStore
from tests.db.candidates import KEY, Door, candidate, limited

if TYPE_CHECKING:
    from db.database import Database


@pytest.fixture
async def door(db: Database) -> Door:
    door = Door(db)
    await door.store.add_tenant("shop", KEY)
    return door


async def test_unpaced_messages_go_by_priority_and_then_in_order(door: Door) -> None:
    """Urgent before normal before bulk; within one, first come first served."""
    order = ["bulk", "normal", "urgent", "bulk", "normal", "urgent"]
    outcomes = await door.admit(*(candidate(f"62811{i}", priority=p) for i, p in enumerate(order)))
    went = []
    while message := await door.claim():
        went.append(message.id)
        await door.sent(message)
    assert went == [outcomes[i].message_id for i in (2, 5, 1, 4, 0, 3)]
    await door.check_books()


async def test_an_urgent_message_goes_next_past_a_thousand_bulk_ones(door: Door) -> None:
    """And is told so: nobody ahead of it."""
    for _ in range(4):
        await door.admit(*(candidate(f"62{i:09}", priority="bulk", gap=60) for i in range(250)))
    first = await door.claim()
    assert first is not None
    [urgent] = await door.admit(candidate("628999", priority="urgent", gap=0.001))
    assert urgent.ahead == 0
    await asyncio.sleep(0.01)
    following = await door.claim()
    assert following is not None
    assert following.id == urgent.message_id
    await door.check_books()


async def test_two_messages_to_one_recipient_are_never_in_flight_together(door: Door) -> None:
    """The second waits for the first one's end; another recipient's goes meanwhile."""
    first, second, other = await door.admit(candidate("628111"), candidate("628111"), candidate("628222"))
    one, two, three = await door.claim(), await door.claim(), await door.claim()
    assert one is not None
    assert two is not None
    assert (one.id, two.id, three) == (first.message_id, other.message_id, None)
    await door.sent(one)
    three = await door.claim()
    assert three is not None
    assert three.id == second.message_id


async def test_a_waived_message_does_not_overtake_an_earlier_one_to_the_same_recipient(door: Door) -> None:
    """The number was whitelisted in between: order per recipient is kept all the same."""
    [paced] = await door.admit(candidate("628111", gap=0.05))
    [waived] = await door.admit(candidate("628111"))
    went = []
    for _ in range(200):
        if message := await door.claim():
            went.append(message.id)
            await door.sent(message)
        await asyncio.sleep(0.002)
        if len(went) == 2:
            break
    assert went == [paced.message_id, waived.message_id]


async def test_a_claim_whose_answer_was_lost_is_given_again_to_the_same_process_only(door: Door) -> None:
    """The row is `sending`, and whoever sends it does not know: asking again must not block its recipient for ever."""
    [outcome] = await door.admit(candidate())
    for _ in range(2):
        again = await door.store.claim("shop", 7)
        assert isinstance(again, Claimed)
        assert again.message.id == outcome.message_id
    assert await door.store.claim("shop", 8) is None
    await door.check_books()


async def test_an_urgent_paced_message_goes_before_unpaced_bulk(door: Door) -> None:
    """Priority comes first; steady traffic to whitelisted numbers starves nobody."""
    await door.admit(*(candidate(f"62811{n}", priority="bulk") for n in range(5)))
    [urgent] = await door.admit(candidate("628999", priority="urgent", gap=1))
    message = await door.claim()
    assert message is not None
    assert message.id == urgent.message_id


async def test_a_removed_tenants_messages_never_go_even_if_admitted_in_the_same_moment(door: Door) -> None:
    """An admission that was under way may leave a queued row behind; nobody sends it."""
    await door.admit(candidate())
    await door.db.execute("DELETE FROM api_keys")
    assert await door.claim() is None


async def test_the_gap_is_kept_between_two_paced_sends_also_by_two_processes(door: Door) -> None:
    """A second claim says how long to wait, whoever asks."""
    await door.admit(candidate("628111", gap=300), candidate("628222", gap=300))
    assert isinstance(await door.store.claim("shop", 1), Claimed)
    waiting = await door.store.claim("shop", 2)
    assert isinstance(waiting, Wait)
    assert 200 < waiting.seconds <= 300


async def test_unpaced_messages_neither_wait_nor_make_others_wait(door: Door) -> None:
    """A whitelisted number is sent to at once, and the promise to the others stands."""
    await door.admit(candidate("628111", gap=300))
    assert await door.claim() is not None
    [paced, free] = await door.admit(candidate("628222", gap=300), candidate("628333"))
    message = await door.claim()
    assert message is not None
    assert message.id == free.message_id
    before = datetime.now(UTC)
    waiting = await door.store.claim("shop", 99)
    after = datetime.now(UTC)
    assert isinstance(waiting, Wait)
    assert paced.expected_at is not None
    moment, a_little = timedelta(seconds=waiting.seconds), timedelta(seconds=0.1)
    assert before + moment - a_little < paced.expected_at < after + moment + a_little


async def test_the_promise_adds_the_gaps_of_all_who_stand_before(door: Door) -> None:
    """expected_at: now for the first of an idle line, then each one's gap later; an urgent one comes in between."""
    outcomes = await door.admit(*(candidate(f"62811{i}", gap=gap) for i, gap in enumerate([4, 3, 2])))
    [urgent] = await door.admit(candidate("628999", gap=5, priority="urgent"))
    [last] = await door.admit(candidate("628998", gap=1))
    at: dict[str, datetime] = dict(await door.db.fetch("SELECT id::text, created_at FROM messages"))
    start, then, now = (at[o.message_id] for o in (outcomes[0], urgent, last))
    promises = [o.expected_at for o in (*outcomes, urgent, last)]
    assert promises[:3] == [start + timedelta(seconds=s) for s in (0, 3, 5)]
    # Nobody sends here: at each admission the first in the line, of 4 seconds and then of 5, may go at once.
    free = then - timedelta(seconds=4)
    assert promises[3] == free + timedelta(seconds=5)
    free = max(free, now - timedelta(seconds=5))
    assert promises[4] == free + timedelta(seconds=5 + 4 + 3 + 2 + 1)
    assert [o.ahead for o in (*outcomes, urgent, last)] == [0, 1, 2, 0, 4]


async def test_scheduled_messages_for_one_moment_are_promised_one_after_another(door: Door) -> None:
    """And once they are due they stand in the line, so that newcomers are promised a time after them."""
    more: dict[str, Any] = {"gap": 5, "send_at": datetime.now(UTC) + timedelta(hours=1), "lifetime": 7200}
    first, second = await door.admit(*(candidate(f"62811{n}", **more) for n in range(2)))
    [third] = await door.admit(candidate("628113", **more))
    moments = [o.expected_at for o in (first, second, third) if o.expected_at]
    assert [(at - moments[0]).total_seconds() for at in moments] == [0, 5, 10]
    await door.db.execute("UPDATE messages SET send_at = send_at - interval '1 hour'")
    assert await door.claim() is not None
    [(slot,)] = await door.db.fetch("SELECT paced_at FROM lines")
    [newcomer] = await door.admit(candidate("628114", gap=5))
    [(now,)] = await door.db.fetch("SELECT created_at FROM messages WHERE id = %s", (newcomer.message_id,))
    assert newcomer.ahead == 2
    # Five seconds after the last send, or at once if that is longer ago; then those of the second and its own.
    assert newcomer.expected_at == max(slot + timedelta(seconds=5), now) + timedelta(seconds=10)
    await door.check_books()


async def test_after_a_standstill_promises_count_from_now(door: Door) -> None:
    """Nobody sent for ten minutes: the first in the line goes now, and not at a slot that has passed."""
    await door.admit(*(candidate(f"62811{n}", gap=5) for n in range(10)))
    await door.db.execute("UPDATE lines SET paced_at = paced_at - interval '10 minutes'")
    before = datetime.now(UTC)
    [last] = await door.admit(candidate("628999", gap=5))
    assert last.expected_at is not None
    now = last.expected_at - timedelta(seconds=50)
    assert before - timedelta(seconds=1) < now < datetime.now(UTC) + timedelta(seconds=1)


async def test_a_waived_message_behind_others_to_its_recipient_is_promised_their_time(door: Door) -> None:
    """It overtakes the line, but not what was queued for the same number."""
    _, paced = await door.admit(candidate("628222", gap=60), candidate("628111", gap=60))
    [waived] = await door.admit(candidate("628111"))
    assert waived.expected_at == paced.expected_at


async def test_promises_are_kept_to_the_millisecond_along_a_line(door: Door) -> None:
    """Slots, not moments: claiming late now and then does not push the rest of the line back, unless it is over a
    second late. Nobody is claimed before the time that was promised."""
    gap = timedelta(seconds=1)
    outcomes = await door.admit(*(candidate(f"62811{i}", gap=gap.total_seconds()) for i in range(5)))
    promises = {o.message_id: o.expected_at for o in outcomes if o.expected_at}
    due = promises[outcomes[0].message_id]
    for outcome in outcomes:
        while not isinstance(result := await door.store.claim("shop", 1), Claimed):
            assert isinstance(result, Wait)
            await asyncio.sleep(result.seconds + 0.01)
        assert result.message.id == outcome.message_id
        [(slot, claimed)] = await door.db.fetch(
            "SELECT paced_at, claimed_at FROM lines, messages WHERE id = %s", (outcome.message_id,)
        )
        assert slot == (due if claimed - due <= gap else claimed)
        assert claimed >= promises[outcome.message_id]
        due = slot + gap
        await door.sent(result.message, 1)


async def test_a_message_is_not_sent_before_its_send_at(door: Door) -> None:
    """It stands in nobody's way, and the sender is told when to look again."""
    later = datetime.now(UTC) + timedelta(seconds=300)
    [scheduled, now] = await door.admit(candidate("628111", send_at=later), candidate("628222"))
    message = await door.claim()
    assert message is not None
    assert message.id == now.message_id
    waiting = await door.store.claim("shop", 99)
    assert isinstance(waiting, Wait)
    assert 200 < waiting.seconds <= 300
    assert scheduled.expected_at is not None
    assert abs((scheduled.expected_at - later).total_seconds()) < 0.01


async def test_an_expired_message_never_goes_says_so_and_returns_its_count(door: Door) -> None:
    """It is `expired` with its cause, and neither its counter nor its place in the line is taken any more."""
    [outcome] = await door.admit(candidate(said=limited(3), gap=2, lifetime=0.001))
    await asyncio.sleep(0.01)
    assert await door.claim() is None
    [change] = await door.store.expire()
    assert (change.message_id, change.status) == (outcome.message_id, "expired")
    message = await door.store.message("shop", outcome.message_id)
    assert message is not None
    assert (message.status, message.cause) == ("expired", "not_sent_in_time")
    assert await door.counted() == 0
    await door.check_books()


async def test_cancelling_returns_the_count_once(door: Door) -> None:
    """The second time, another tenant's time, and the time after sending change nothing."""
    [outcome] = await door.admit(candidate(said=limited(3), gap=2))
    assert await door.store.cancel("bank", outcome.message_id) is None
    first = await door.store.cancel("shop", outcome.message_id)
    second = await door.store.cancel("shop", outcome.message_id)
    assert first is not None
    assert first[1] is not None
    assert second == ("cancelled", None)
    assert await door.counted() == 0
    await door.check_books()


async def test_what_failed_before_it_left_returns_its_count_and_what_may_have_left_does_not(door: Door) -> None:
    """`failed` gives back, `unknown` keeps."""
    for status, gives_back, left in (("failed", True, 0), ("unknown", False, 1)):
        await door.admit(candidate(said=limited(9)))
        message = await door.claim()
        assert message is not None
        change = StatusChange(
            tenant="shop", message_id=message.id, to=message.to, status=status, at=datetime.now(UTC), cause="why"
        )
        assert await door.store.record(change, door.holders[message.id], gives_back=gives_back) is not None
        assert await door.counted() == left


async def test_a_message_in_flight_of_a_dead_process_becomes_unknown_and_of_a_living_one_stays(
    door: Door, db: Database
) -> None:
    """A process lives as long as its connection holds its advisory lock."""
    await door.admit(candidate("628111"), candidate("628222"))
    async with db.transaction() as alive:
        await alive.fetch("SELECT pg_advisory_xact_lock(process_class(), 7)")
        await door.store.claim("shop", 7)
        await door.store.claim("shop", 8)
        [settled] = await door.store.settle(0.0)
        assert (settled.to, settled.status) == ("628222", "unknown")
    [settled] = await door.store.settle(0.0)
    assert settled.to == "628111"
    message = await door.store.message("shop", settled.message_id)
    assert message is not None
    assert (message.status, message.cause) == ("unknown", "gateway_died")


async def test_late_news_settle_an_unknown_message(door: Door) -> None:
    """A gateway that was only cut off from PostgreSQL knows better than the one that gave it up."""
    await door.admit(candidate())
    message = await door.claim()
    assert message is not None
    await door.store.settle(0.0)
    await door.sent(message)
    assert await door.statuses() == {"sent": 1}


async def test_withdrawn_messages_never_go_and_free_their_keys(door: Door) -> None:
    """Their callers heard 503: the same key is a new request."""
    [outcome] = await door.admit(candidate(said=limited(1), client_ref="k"))
    [change] = await door.store.withdraw([outcome.message_id])
    assert (change.status, change.cause) == ("expired", "answered_503")
    assert await door.claim() is None
    [again] = await door.admit(candidate(said=limited(1), client_ref="k"))
    assert again.outcome == "queued"


async def test_removing_a_tenant_deletes_key_whitelist_and_login_and_keeps_messages(door: Door) -> None:
    """What is queued is cancelled; another tenant's rows stay."""
    await door.store.add_tenant("bank", "sha256:" + "1" * 64)
    await door.store.whitelist_add("bank", "628111")
    await door.store.whitelist_add("shop", "628111")
    await door.db.execute("INSERT INTO auth_creds VALUES ('shop', '{}'), ('bank', '{}')")
    await door.db.execute("INSERT INTO auth_keys (tenant_id, key) VALUES ('shop', 'k'), ('bank', 'k')")
    await door.admit(candidate(said=limited(3)))
    assert await door.store.remove_tenant("shop")
    assert not await door.store.remove_tenant("shop")
    assert await door.statuses() == {"cancelled": 1}
    for table in ("api_keys", "whitelist", "auth_creds", "auth_keys"):
        assert await door.db.fetch(f"SELECT tenant_id FROM {table}") == [("bank",)]


async def test_who_gets_the_id_of_a_removed_tenant_finds_neither_its_references_nor_its_plugins_notes(
    door: Door,
) -> None:
    """The same client_ref is a new message, which is sent; another tenant's references and notes stay."""
    await door.store.add_tenant("bank", "sha256:" + "1" * 64)
    for tenant in ("shop", "bank"):
        await door.store.plugin_set(tenant, "notes", "seen", ["628111"])
    [first] = await door.admit(candidate(client_ref="order-7"))
    assert await door.store.remove_tenant("shop")
    await door.store.add_tenant("shop", KEY)
    [second] = await door.admit(candidate(client_ref="order-7"))
    assert (second.outcome, second.message_id == first.message_id) == ("queued", False)
    assert await door.store.plugin_get("shop", "notes", "seen") is None
    assert await door.store.plugin_get("bank", "notes", "seen") == ["628111"]


async def test_who_gets_the_id_of_a_removed_tenant_begins_without_its_phone(door: Door) -> None:
    """Also when no gateway runs that could log the device out: its session and its login are gone, and whoever should
    hold the session hears of it; other tenants' stay."""
    await door.db.execute("CREATE TABLE whatsmeow_device (jid text)")
    for tenant, number in (("shop", "628111"), ("bank", "628222")):
        device = f"{number}:7@s.whatsapp.net"
        await door.db.execute("INSERT INTO whatsmeow_device VALUES (%s)", (device,))
        await door.db.execute(
            "INSERT INTO sessions (tenant_id, jid, number, state) VALUES (%s, %s, %s, 'connected')",
            (tenant, device, number),
        )
    listener = psycopg2.connect(door.db.url)
    listener.autocommit = True
    with listener.cursor() as cursor:
        cursor.execute("LISTEN gapura_forgotten")
        assert await door.store.remove_tenant("shop")
        cursor.execute("SELECT 1")
        assert [notice.payload for notice in listener.notifies] == ["shop"]
    listener.close()
    assert await door.db.fetch("SELECT jid FROM whatsmeow_device") == [("628222:7@s.whatsapp.net",)]
    await door.store.add_tenant("shop", KEY)
    sessions = SessionStore(door.db)
    assert [(row.tenant, row.jid) for row in await sessions.sessions()] == [("bank", "628222:7@s.whatsapp.net")]
    assert [(row.tenant, row.paired) for row in await sessions.tenants()] == [("shop", False)]


async def test_books_are_right_after_any_history(door: Door) -> None:
    """1,000 random admissions, claims, records, put-backs, cancellations, expiries and withdrawals: lines and counters
    are what the rows say."""
    rng = random.Random(11)
    in_flight: list[Outgoing] = []
    known: list[str] = []
    for _ in range(250):
        batch = [
            candidate(
                f"62811{rng.randint(0, 5)}",
                said=limited(rng.choice([2, 50])),
                gap=rng.choice([0, 0, 0.001, 0.5]),
                priority=rng.choice(PRIORITIES),
                lifetime=rng.choice([0.001, 60]),
                send_at=rng.choice([None, datetime.now(UTC) + timedelta(seconds=rng.choice([0.01, 60]))]),
                client_ref=rng.choice([None, f"key-{rng.randint(0, 40)}"]),
            )
            for _ in range(rng.randint(1, 4))
        ]
        known += [o.message_id for o in await door.admit(*batch) if o.outcome == "queued"]
        if message := await door.claim():
            if rng.random() < 0.2:
                await door.store.requeue(message.id, door.processes, "not_connected")
            else:
                in_flight.append(message)
        if in_flight and rng.random() < 0.7:
            message = in_flight.pop(rng.randrange(len(in_flight)))
            status = rng.choice(["sent", "failed", "unknown"])
            change = StatusChange(
                tenant="shop", message_id=message.id, to=message.to, status=status, at=datetime.now(UTC)
            )
            await door.store.record(change, door.holders[message.id], gives_back=status == "failed")
        if known and rng.random() < 0.3:
            await door.store.cancel("shop", rng.choice(known))
        if known and rng.random() < 0.1:
            await door.store.withdraw(rng.sample(known, min(3, len(known))))
        if rng.random() < 0.2:
            await door.store.expire()
    await door.check_books()
    assert set(await door.statuses()) >= {"queued", "sent", "failed", "cancelled", "expired"}


async def test_a_message_that_did_not_leave_goes_first_again_and_only_its_holder_can_put_it_back(door: Door) -> None:
    """It stands where it stood, in front of a later one to the same recipient, and its history tells why."""
    first, _ = [o.message_id for o in await door.admit(candidate("628111"), candidate("628111"))]
    claimed = await door.claim()
    assert claimed is not None
    await door.store.requeue(claimed.id, door.processes + 1, "not mine")
    assert await door.claim() is None
    await door.store.requeue(claimed.id, door.processes - 1, "not_connected")
    await door.check_books()
    again = await door.claim()
    assert again is not None
    assert (claimed.id, again.id) == (first, first)
    stored = await door.store.message("shop", first)
    assert stored is not None
    told = [(event["status"], event.get("cause")) for event in stored.history[1:]]
    assert told == [("sending", None), ("queued", "not_connected"), ("sending", None)]


async def test_who_waits_for_the_gap_alone_is_named(door: Door) -> None:
    """So that the recipient may see typing; nobody is named while nothing is due."""
    await door.admit(candidate("628111", gap=30), candidate("628222", gap=30))
    message = await door.claim()
    assert message is not None
    await door.sent(message)
    wait = await door.store.claim("shop", 99)
    assert isinstance(wait, Wait)
    assert wait.to == "628222"


async def incoming(door: Door, tenant: str, *ids: str) -> None:
    for message_id in ids:
        message = Incoming(
            tenant=tenant, id=message_id, chat="628111", sender="628111", content="hi", at=datetime.now(UTC)
        )
        assert await door.store.add_incoming(message)


async def test_incoming_messages_whose_claim_was_answered_into_the_void_are_claimed_again(door: Door) -> None:
    """By the same process, which knows what it has in hand; what it has is not given twice."""
    await incoming(door, "shop", "A", "B")
    first = await door.store.claim_incoming(7, (), 1)
    again = await door.store.claim_incoming(7, (), 10)
    assert [message.id for _, message in first] == ["A"]
    assert [message.id for _, message in again] == ["A", "B"]
    assert await door.store.claim_incoming(7, tuple(number for number, _ in again), 10) == []


async def test_a_tenants_incoming_messages_are_shown_by_one_living_process_at_a_time(door: Door, db: Database) -> None:
    """Its messages are shown in order; another tenant's go elsewhere meanwhile, and a dead process holds nothing."""
    await door.store.add_tenant("bank", "sha256:" + "1" * 64)
    await incoming(door, "shop", "A")
    await door.store.claim_incoming(7, (), 10)
    await incoming(door, "shop", "B")
    await incoming(door, "bank", "C")
    async with db.transaction() as alive:
        await alive.fetch("SELECT pg_advisory_xact_lock(process_class(), 7)")
        assert [message.id for _, message in await door.store.claim_incoming(8, (), 10)] == ["C"]
    assert [message.id for _, message in await door.store.claim_incoming(8, (), 10)] == ["A", "B", "C"]
