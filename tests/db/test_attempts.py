"""What is known of a message in flight when the process that held it is gone: it left, it did not, or nobody knows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from core.clock import Clock
from core.outbox import Claimed
from db.database import Database
from tests.conftest import PATIENT
from tests.db.candidates import candidate, limited
from tests.db.eventually import eventually
from tests.db.lines_in_flight import Flight

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import PostgresServer

DIED, WAITS = "gateway_died", None
YEARS = 1e9
"""Seconds; longer than any PostgreSQL runs that tests are given."""


@pytest.fixture
async def flight(
    loop: asyncio.AbstractEventLoop, postgres: PostgresServer, library_template: str
) -> AsyncIterator[Flight]:
    """The outbox of a linked tenant, in a database with the library's tables."""
    with postgres.database(library_template) as url:
        database = await Database.open(url, **PATIENT)
        flight = Flight(database)
        await flight.begin()
        yield flight
        await database.close()


async def test_each_claim_is_an_attempt_with_a_secret_of_its_own_and_only_the_holder_makes_one(flight: Flight) -> None:
    """Who does not hold the session gets nothing; whoever asks again, because the answer was lost, gets the secret that
    the message was claimed with."""
    await flight.door.admit(candidate())
    assert await flight.door.store.claim("shop", 7, Clock().secret()) is None
    attempt = await flight.claimed()
    again = await flight.door.store.claim("shop", 7, Clock().secret())
    assert isinstance(again, Claimed)
    assert (again.message.id, again.secret) == (attempt.message, attempt.secret)
    assert attempt.secret.hex() not in repr(again)
    rows = await flight.db.fetch("SELECT message_id::text, tenant_id, process, fence, wa_id, sealed FROM attempts")
    assert rows == [(attempt.message, "shop", 7, 1, None, False)]


@pytest.mark.parametrize("has_id", [False, True])
async def test_what_has_not_been_encrypted_has_not_left_and_goes_again(flight: Flight, has_id: bool) -> None:
    """Also when the library had given it an id: it stands where it stood, in front of a later one to the same number,
    its history says why, and the lines are right."""
    attempt = await flight.on_its_way()
    await flight.door.admit(candidate(attempt.to))
    if has_id:
        flight.keep_secret(attempt, "3EB0")
    assert await flight.settle() == [(attempt.to, "queued", DIED)]
    await flight.door.check_books()
    again = await flight.claimed(8)
    assert again.message == attempt.message
    assert again.secret != attempt.secret
    assert await flight.story(attempt.message) == [("queued", DIED), ("sending", None)]
    assert await flight.settle() == [(attempt.to, "queued", DIED)]


async def test_what_has_an_id_and_was_encrypted_waits_for_its_receipt(flight: Flight) -> None:
    """Meanwhile its recipient's next one waits, and another's goes; the receipt settles it; nothing is sent twice."""
    attempt = await flight.on_its_way()
    await flight.door.admit(candidate(attempt.to), candidate("628333"))
    flight.keep_secret(attempt, "3EB0")
    flight.encrypt(attempt)
    assert await flight.settle() == []
    assert (await flight.stored(attempt.message)).status == "sending"
    other = await flight.claimed(8)
    assert other.to == "628333"
    assert await flight.claim(9) is None
    assert await flight.ack("3EB0")
    stored = await flight.stored(attempt.message)
    assert (stored.status, stored.wa_id, stored.sent_at is not None) == ("delivered", "3EB0", True)
    assert (await flight.claimed(9)).to == attempt.to
    await flight.door.check_books()


async def test_what_was_encrypted_without_an_id_is_unknown(flight: Flight) -> None:
    """The library goes on when it cannot write the secret: the message may have left, and no receipt would be known."""
    attempt = await flight.on_its_way()
    flight.encrypt(attempt)
    assert await flight.settle() == [(attempt.to, "unknown", DIED)]


@pytest.mark.parametrize("doubt", ["another PostgreSQL", "a trigger is gone", "no attempt"])
async def test_in_doubt_it_is_unknown(flight: Flight, doubt: str) -> None:
    """PostgreSQL was started since the attempt began and may have forgotten; nobody watched what the library wrote; an
    older process claimed it."""
    attempt = await flight.on_its_way()
    if doubt == "another PostgreSQL":
        await flight.ago(YEARS)
    elif doubt == "a trigger is gone":
        await flight.db.execute('ALTER TABLE whatsmeow_sessions DISABLE TRIGGER "Attempt_v1"')
    else:
        await flight.db.execute("DELETE FROM attempts")
    assert await flight.settle() == [(attempt.to, "unknown", DIED)]


async def test_a_dead_holder_is_fenced_before_its_message_goes_again(flight: Flight) -> None:
    """It may only have slept: whatever it still wants to send is refused, and the next holder works."""
    attempt = await flight.on_its_way()
    await flight.settle()
    with pytest.raises(psycopg2.Error, match="gapura fence"):
        flight.encrypt(attempt)
    again = await flight.claimed(8)
    assert again.fence > attempt.fence
    flight.encrypt(again)


async def test_a_conversation_that_moves_on_in_the_same_moment_is_waited_for(flight: Flight) -> None:
    """Who was let through by the old fence has sealed the attempt before anybody judges it."""
    attempt = await flight.on_its_way()
    flight.keep_secret(attempt, "3EB0")
    with flight.encrypting(attempt.fence):
        settling = asyncio.create_task(flight.settle())
        query = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        await eventually(lambda: flight.store.run(query))
        assert not settling.done()
    assert await settling == []
    assert (await flight.stored(attempt.message)).wa_id == "3EB0"


async def test_a_living_holder_is_left_alone_and_one_that_lost_the_lease_is_not(flight: Flight) -> None:
    """However long it takes; but the message of who is not the holder any more goes at once, though that one lives and
    time for others is granted."""
    attempt = await flight.on_its_way()
    with flight.living(7), flight.living(8):
        await flight.ago(YEARS)
        assert await flight.settle() == []
        await flight.db.execute("UPDATE sessions SET leased_until = now() - interval '1 s'")
        await flight.sessions.lease(8, ["shop"], 60)
        assert await flight.settle(60) == [(attempt.to, "unknown", DIED)]  # years ago this PostgreSQL was not there
        attempt = await flight.on_its_way("628444", 8)
        await flight.sessions.release(8, ["shop"], None)
        assert await flight.settle(60) == []
        await flight.sessions.lease(9, ["shop"], 60)
        assert await flight.settle(60) == [(attempt.to, "queued", DIED)]


async def test_a_process_that_is_gone_has_its_time_of_grace(flight: Flight) -> None:
    """It may have lost its connection for a moment."""
    await flight.on_its_way()
    assert await flight.settle(30) == []
    await flight.ago(31)
    assert len(await flight.settle(30)) == 1


async def test_only_one_tenants(flight: Flight) -> None:
    """A new holder settles what it holds, and nothing else."""
    await flight.on_its_way()
    assert await flight.door.store.settle(0.0, "cafe") == []
    assert len(await flight.door.store.settle(0.0, "shop")) == 1


async def test_a_removed_tenants_message_does_not_go_again(flight: Flight) -> None:
    """Nor would it go when somebody gets that id next; what it counted comes back."""
    await flight.door.admit(candidate(said=limited(1)))
    attempt = await flight.claimed()
    await flight.door.store.remove_tenant("shop")
    assert await flight.settle() == [(attempt.to, "cancelled", "tenant_removed")]
    assert await flight.door.counted() == 0
    await flight.door.check_books()


async def test_without_a_receipt_it_is_unknown_in_the_end(flight: Flight) -> None:
    """A minute of being connected is enough to hear what there is; without a connection it takes ten minutes."""
    cases = {"connected": (40, 25), "logged_out": (580, 25)}
    for number, (state, (not_yet, then)) in enumerate(cases.items()):
        await flight.db.execute("UPDATE sessions SET state = 'connected', since = now() - interval '1 day'")
        attempt = await flight.on_its_way(f"62822{number}", 7 + number)
        flight.keep_secret(attempt, f"3EB{number}")
        flight.encrypt(attempt)
        assert await flight.settle() == []
        await flight.db.execute("UPDATE sessions SET state = %s", (state,))
        await flight.ago(not_yet)
        assert await flight.settle() == []
        await flight.ago(then)
        assert await flight.settle() == [(attempt.to, "unknown", "no_ack")]
        assert await flight.ack(f"3EB{number}", "read")
        assert (await flight.stored(attempt.message)).status == "read"


async def test_who_has_only_just_connected_is_given_time_to_hear(flight: Flight) -> None:
    """The minute begins when both are there, the message's waiting and the connection."""
    attempt = await flight.on_its_way()
    flight.keep_secret(attempt, "3EB0")
    flight.encrypt(attempt)
    await flight.settle()
    await flight.ago(300)
    await flight.db.execute("UPDATE sessions SET since = now()")
    assert await flight.settle() == []


async def test_two_gateways_settle_at_once(flight: Flight) -> None:
    """Each message is settled by one of them, and nobody waits for ever."""
    others = [await Database.open(flight.url, **PATIENT) for _ in range(3)]
    flights = [Flight(database) for database in others]
    for round_ in range(5):
        outcomes = await flight.door.admit(*(candidate(f"62833{n}") for n in range(6)))
        for process in range(10, 16):
            await flight.claim(10 * round_ + process)
        settled = await asyncio.gather(*(each.settle() for each in flights))
        assert sorted(to for part in settled for to, *_ in part) == [f"62833{n}" for n in range(6)]
        await flight.door.check_books()
        for outcome in outcomes:
            await flight.door.store.cancel("shop", outcome.message_id)
    for database in others:
        await database.close()


async def test_an_early_receipt_is_not_taken_back(flight: Flight) -> None:
    """It may come before WhatsApp's own answer: the message has its id already. `sent`, later, is no news."""
    attempt = await flight.on_its_way()
    flight.keep_secret(attempt, "3EB0")
    flight.encrypt(attempt)
    assert await flight.ack("3EB0", "read")
    assert await flight.record(attempt, "sent", "3EB0") is None
    stored = await flight.stored(attempt.message)
    assert (stored.status, stored.wa_id) == ("read", "3EB0")
    assert await flight.story(attempt.message) == [("sent", None), ("read", None)]
    assert await flight.db.fetch("SELECT * FROM attempts") == []


async def test_a_record_whose_answer_was_lost_is_answered_again(flight: Flight) -> None:
    """And changes nothing the second time."""
    attempt = await flight.on_its_way()
    first, again = await flight.record(attempt, "sent", "3EB0"), await flight.record(attempt, "sent", "3EB0")
    assert first == again is not None
    assert await flight.story(attempt.message) == [("sent", None)]


async def test_a_sleeper_that_wakes_changes_nothing_that_is_anothers(flight: Flight) -> None:
    """Its message was given to another process: what it says of failures is of no interest, nor can it put it back."""
    attempt = await flight.on_its_way()
    await flight.settle()
    again = await flight.claimed(8)
    for status in ("failed", "unknown"):
        assert await flight.record(attempt, status) is None
    assert await flight.door.store.requeue(attempt.message, 7, "lease_lost", secret=attempt.secret) is None
    assert (await flight.stored(attempt.message)).status == "sending"
    assert await flight.record(again, "sent", "3EB1") is not None


@pytest.mark.parametrize("then", ["queued again", "waiting for a receipt", "unknown"])
async def test_that_it_was_sent_is_true_whoever_says_it(flight: Flight, then: str) -> None:
    """A process that was only cut off from PostgreSQL knows better than whoever gave it up: its message leaves the line
    again, and is not sent a second time."""
    attempt = await flight.on_its_way()
    if then == "waiting for a receipt":
        flight.keep_secret(attempt, "3EB0")
    if then != "queued again":
        flight.encrypt(attempt)
    await flight.settle()
    assert await flight.record(attempt, "sent", "3EB0") is not None
    assert (await flight.stored(attempt.message)).status == "sent"
    assert await flight.claim(8) is None
    await flight.door.check_books()


async def test_what_waits_for_a_receipt_and_did_not_leave_goes_again(flight: Flight) -> None:
    """Its process lives after all, and was refused: it says so with the attempt's own secret."""
    attempt = await flight.on_its_way()
    flight.keep_secret(attempt, "3EB0")
    flight.encrypt(attempt)
    await flight.settle()
    await flight.door.store.requeue(attempt.message, 7, "lease_lost", secret=b"another" * 4)
    assert await flight.claim(8) is None
    await flight.door.store.requeue(attempt.message, 7, "lease_lost", secret=attempt.secret)
    assert (await flight.claimed(8)).message == attempt.message


async def test_a_secret_that_comes_back_names_no_other_message(flight: Flight) -> None:
    """Whoever gets a message knows its secret, and may send one of his own with it."""
    attempt = await flight.on_its_way()
    flight.keep_secret(attempt, "3EB0")
    flight.keep_secret(attempt, "FORGED")
    assert await flight.db.fetch("SELECT wa_id FROM attempts") == [("3EB0",)]


async def test_what_the_library_writes_is_never_failed_by_what_we_note(flight: Flight) -> None:
    """A secret is kept also when its attempt cannot be told."""
    attempt = await flight.on_its_way()
    await flight.db.execute("ALTER TABLE attempts ADD CONSTRAINT nothing_fits CHECK (wa_id IS NULL)")
    flight.keep_secret(attempt, "3EB0")
    assert await flight.db.fetch("SELECT message_id FROM whatsmeow_message_secrets") == [("3EB0",)]


async def test_the_triggers_are_put_back_where_they_are_missing(flight: Flight) -> None:
    """Once for each table, also after somebody disabled one; a table that is not there is no mistake."""
    attend: Any = "SELECT wa_attend_v1(%s)"
    assert await flight.db.fetch(attend, ("sessions",)) == [(False,)]
    await flight.db.execute('ALTER TABLE whatsmeow_sessions DISABLE TRIGGER "Attempt_v1"')
    assert await flight.db.fetch("SELECT wa_attended_v1()") == [(False,)]
    assert await flight.db.fetch(attend, ("sessions",)) == [(True,)]
    assert await flight.db.fetch("SELECT wa_attended_v1()") == [(True,)]
    await flight.db.execute("DROP TABLE whatsmeow_sender_keys")
    assert await flight.db.fetch(attend, ("sender_keys",)) == [(False,)]


async def test_what_dry_run_had_in_flight_is_unknown(flight: Flight) -> None:
    """It makes no attempts, and has no session."""
    await flight.db.execute("DELETE FROM sessions")
    await flight.door.admit(candidate())
    assert await flight.door.store.claim("shop", 7) is not None
    assert await flight.settle() == [("628111", "unknown", DIED)]
