"""What did not leave, what nobody knows of, and what is missed: tried again, told, or given up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from core.model import Incoming, StatusChange
from core.outbox import Wait
from core.session_rows import Device
from db.database import Database
from db.event_store import EventStore
from tests.conftest import PATIENT
from tests.db.candidates import candidate, limited
from tests.db.lines_in_flight import JID, Attempt, Flight

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from tests.conftest import PostgresServer

EVENTS = "SELECT type, data->>'cause' FROM events WHERE type <> 'message.queued' OR data IS NOT NULL ORDER BY seq"

PAUSE = "SELECT retry_at - (history -> -1 ->> 'at')::timestamptz FROM messages WHERE id = %s"
A_WHILE = 1000
"""Seconds by which what is to come is put off, lest it come while the test, or the machine, is slow."""


@pytest.fixture
async def flight(
    loop: asyncio.AbstractEventLoop, postgres: PostgresServer, library_template: str
) -> AsyncIterator[Flight]:
    """The outbox of a linked tenant."""
    with postgres.database(library_template) as url:
        database = await Database.open(url, **PATIENT)
        flight = Flight(database)
        await flight.begin()
        yield flight
        await database.close()


async def put_back(flight: Flight, attempt: Attempt, *, is_own: bool = True, pause: float = 0.0) -> StatusChange | None:
    return await flight.door.store.requeue(
        attempt.message, attempt.process, "database", secret=attempt.secret, is_own=is_own, pause=pause
    )


async def test_a_message_that_fails_by_itself_waits_longer_each_time_and_alone(flight: Flight) -> None:
    """Another's goes meanwhile, a later one to the same number does not; who asks is told when to come back."""
    attempt = await flight.on_its_way("628222")
    await flight.door.admit(candidate("628222"), candidate("628333"))
    for seconds in (2, 4, 8):
        await put_back(flight, attempt)
        assert await flight.db.fetch(PAUSE, (attempt.message,)) == [(timedelta(seconds=seconds),)]
        await flight.ago(-A_WHILE)
        await flight.door.check_books()
        if seconds == 2:
            assert (await flight.claimed(8)).to == "628333"
        wait = await flight.claim(9)
        assert isinstance(wait, Wait)
        assert A_WHILE / 2 < wait.seconds <= A_WHILE + seconds
        await flight.ago(A_WHILE + seconds)
        attempt = await flight.claimed(10 + seconds)
    assert await flight.story(attempt.message) == [("queued", "database"), ("sending", None)] * 3


async def test_the_eighth_time_is_the_last_and_what_it_counted_comes_back(flight: Flight) -> None:
    """A final word, with its cause; the next one to that number goes."""
    await flight.door.admit(candidate(said=limited(2)), candidate(said=limited(2)))
    first = await flight.claimed(1)
    attempt, failed = first, None
    for process in range(2, 10):
        assert failed is None
        failed = await put_back(flight, attempt)
        await flight.ago(100)
        attempt = await flight.claimed(process)
    assert failed is not None
    assert (failed.message_id, failed.status, failed.cause) == (first.message, "failed", "gave_up")
    assert attempt.message != first.message
    assert await flight.door.counted() == 1
    await flight.door.check_books()
    assert ("message.failed", "gave_up") in await flight.db.fetch(EVENTS)


async def test_what_is_the_sessions_fault_counts_nothing(flight: Flight) -> None:
    """It may be put back as often as it takes; a pause that is asked for is kept."""
    attempt = await flight.on_its_way()
    for process in range(8, 18):
        assert await put_back(flight, attempt, is_own=False) is None
        attempt = await flight.claimed(process)
    await put_back(flight, attempt, is_own=False, pause=60)
    wait = await flight.claim(20)
    assert isinstance(wait, Wait)
    assert 50 < wait.seconds <= 60


async def test_known_only_passes_by_new_conversations(flight: Flight) -> None:
    """Who has ever written gets what is for him, and so does whoever is answered; the others keep their places."""
    said = Incoming(tenant="shop", id="A", chat="628333", sender="628333", content="hi", at=datetime.now(UTC))
    await flight.door.store.add_incoming(said)
    new, answer = candidate("628222", gap=0.001), candidate("628444", answers="A", gap=0.001)
    await flight.door.admit(new, candidate("628333"), answer, candidate("628555"))
    went = [await flight.claim(process, known_only=True) for process in (8, 9, 10)]
    assert [each.to for each in went if isinstance(each, Attempt)] == ["628333", "628444"]
    assert not isinstance(went[2], Attempt)
    rest = [await flight.claim(process) for process in (11, 12)]
    assert sorted(each.to for each in rest if isinstance(each, Attempt)) == ["628222", "628555"]
    await flight.door.check_books()


async def unknown(flight: Flight, to: str = "628222") -> Attempt:
    attempt = await flight.on_its_way(to)
    flight.keep_secret(attempt, f"3EB{to}")
    flight.encrypt(attempt)
    await flight.record(attempt, "unknown")
    return attempt


async def test_an_unknown_message_is_sent_once_more_where_that_is_wanted(flight: Flight) -> None:
    """History and events say so; it stands where it stood, and goes after a pause; other tenants' stay."""
    attempt = await unknown(flight)
    assert await flight.door.store.tenants_with_unknown() == ["shop"]
    assert await flight.door.store.resend(["cafe"]) == []
    [change] = await flight.door.store.resend(["shop"])
    assert (change.message_id, change.status, change.cause) == (attempt.message, "queued", "resend")
    await flight.door.check_books()
    await flight.ago(-A_WHILE)
    assert isinstance(await flight.claim(8), Wait)
    await flight.ago(A_WHILE + 2)
    again = await flight.claimed(8)
    assert (again.message, await flight.door.store.tenants_with_unknown()) == (attempt.message, [])
    assert await flight.story(attempt.message) == [("unknown", None), ("queued", "resend"), ("sending", None)]
    assert await flight.db.fetch(EVENTS) == [("message.unknown", None), ("message.queued", "resend")]


async def test_a_late_receipt_takes_a_message_out_of_the_line(flight: Flight) -> None:
    """It had arrived the first time: it is not sent once more, and the lines are right."""
    attempt = await unknown(flight)
    await flight.door.store.resend(["shop"])
    assert await flight.ack("3EB628222", "read")
    assert (await flight.stored(attempt.message)).status == "read"
    await flight.ago(100)
    assert await flight.claim(8) is None
    await flight.door.check_books()


async def test_a_receipt_of_the_first_attempt_settles_the_second(flight: Flight) -> None:
    """Whichever attempt arrived: that it arrived is known, and what the second one says later changes nothing."""
    attempt = await unknown(flight)
    await flight.door.store.resend(["shop"])
    await flight.ago(2)
    again = await flight.claimed(8)
    assert await flight.ack("3EB628222")
    await flight.record(again, "unknown")
    assert (await flight.stored(attempt.message)).status == "delivered"


async def test_resending_has_an_end(flight: Flight) -> None:
    """Eight times, and never after its time."""
    late = await unknown(flight, "628333")
    await flight.db.execute("UPDATE messages SET expires_at = now() WHERE id = %s", (late.message,))
    attempt = await unknown(flight)
    for process in range(8, 16):
        assert [change.message_id for change in await flight.door.store.resend(["shop"])] == [attempt.message]
        await flight.ago(100)
        attempt = await flight.claimed(process)
        await flight.record(attempt, "unknown")
    assert await flight.door.store.tenants_with_unknown() == []
    assert await flight.door.store.resend(["shop"]) == []


async def test_what_whatsapp_does_not_confirm_is_told_once(flight: Flight) -> None:
    """After a minute, by an event; also when it is claimed anew later."""
    attempt = await flight.on_its_way()
    assert await flight.door.store.overdue() == []
    await flight.ago(61)
    assert await flight.door.store.overdue() == [("shop", attempt.message)]
    assert await flight.door.store.overdue() == []
    assert await flight.db.fetch("SELECT type, chat, outgoing::text FROM events WHERE type LIKE '%.overdue'") == [
        ("message.overdue", attempt.to, attempt.message)
    ]
    [event] = (await EventStore(flight.db).after("shop", 0, 10, ["message.overdue"])).events
    assert event.data["status"] == "sending"


async def test_a_phone_that_stays_away_is_told_once_until_it_is_seen(flight: Flight) -> None:
    """Linking is a sign of it; ten days without any are told; a sign that another process brings does not count."""
    await flight.sessions.lease(7, ["shop"], 60)
    assert await flight.sessions.bind(7, "shop", Device(JID, "100:7@lid", "", False))
    for _ in range(2):
        assert await flight.sessions.phones_missed(10) == []
        await flight.db.execute("UPDATE sessions SET phone_last_seen = now() - interval '11 days'")
        await flight.sessions.phone_seen(8, "shop")
        assert [tenant for tenant, _ in await flight.sessions.phones_missed(10)] == ["shop"]
        assert await flight.sessions.phones_missed(10) == []
        await flight.sessions.phone_seen(7, "shop")
    [row] = await flight.sessions.sessions("shop")
    assert row.phone_last_seen is not None
    told = await flight.db.fetch("SELECT type, data ? 'phone_last_seen' FROM events WHERE type LIKE 'session.phone%'")
    assert told == [("session.phone_not_seen", True)] * 2


async def test_an_alarm_is_raised_by_one(flight: Flight) -> None:
    """Until it is cleared."""
    for _ in range(2):
        raised = [await flight.sessions.raise_alarm("client_outdated", "update") for _ in range(2)]
        assert raised == [True, False]
        assert [(name, words) for name, _, words in await flight.sessions.alarms()] == [("client_outdated", "update")]
        await flight.sessions.clear_alarm("client_outdated")
        assert await flight.sessions.alarms() == []
