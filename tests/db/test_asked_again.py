"""A phone that could not decrypt a message asks for it once more, and nobody remembers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from db.database import Database
from tests.conftest import PATIENT
from tests.db.candidates import candidate, limited
from tests.db.lines_in_flight import Attempt, Flight

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Sequence

    from tests.conftest import PostgresServer

EVENTS = "SELECT type, data->>'cause' FROM events WHERE type <> 'message.queued' OR data IS NOT NULL ORDER BY seq"
FIRST, SECOND = "3EB0FIRST", "3EB0SECOND"


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


async def sent(flight: Flight, attempt: Attempt, wa_id: str = FIRST) -> Attempt:
    """It has left, and WhatsApp has it."""
    flight.keep_secret(attempt, wa_id)
    flight.encrypt(attempt)
    assert await flight.record(attempt, "sent", wa_id)
    return attempt


async def asked(flight: Flight, wa_id: str = FIRST, served: Sequence[str] = (), tenant: str = "shop") -> list[str]:
    """What is queued once more."""
    return await flight.sessions.asked_again(tenant, [wa_id], served)


async def test_it_goes_once_more_and_its_history_says_so(flight: Flight) -> None:
    """Where it stood, before what came later to that number, as an attempt of its own; events tell it; nothing is
    counted again; receipts of the new copy settle it."""
    await flight.door.admit(candidate(said=limited(3)), candidate(said=limited(3)))
    first = await sent(flight, await flight.claimed())
    assert await asked(flight) == [first.message]
    await flight.door.check_books()
    assert await flight.door.counted() == 2
    again = await flight.claimed(8)
    assert (again.message, again.secret == first.secret) == (first.message, False)
    await sent(flight, again, SECOND)
    assert await flight.ack(SECOND)
    story = [("sent", None), ("queued", "asked_again"), ("sending", None), ("sent", None), ("delivered", None)]
    assert await flight.story(first.message) == story
    told = [("message.sent", None), ("message.queued", "asked_again"), ("message.sent", None)]
    assert await flight.db.fetch(EVENTS) == [*told, ("message.delivered", None)]
    assert (await flight.stored(first.message)).wa_id == SECOND
    await flight.door.check_books()


async def test_only_once(flight: Flight) -> None:
    """Whoever asks for the first copy or for the second: a phone that can read nothing does not keep the line busy."""
    first = await sent(flight, await flight.on_its_way())
    assert await asked(flight) == [first.message]
    assert await asked(flight) == []
    await sent(flight, await flight.claimed(8), SECOND)
    assert await asked(flight) == []
    assert await asked(flight, SECOND) == []


async def test_what_the_library_serves_is_left_to_it(flight: Flight) -> None:
    """What its present client has sent it sends again by itself; other messages are none of its business."""
    first = await sent(flight, await flight.on_its_way())
    assert await asked(flight, served=[first.message]) == []
    assert (await flight.stored(first.message)).status == "sent"
    other = await sent(flight, await flight.on_its_way("628333"), SECOND)
    assert await asked(flight, served=[other.message]) == [first.message]


async def test_what_a_linked_device_has_got_the_phone_may_still_want(flight: Flight) -> None:
    """`delivered` may be its doing. A message that was read is not sent again."""
    first = await sent(flight, await flight.on_its_way())
    assert await flight.ack(FIRST)
    second = await sent(flight, await flight.on_its_way("628333"), SECOND)
    assert await flight.ack(SECOND, "read")
    assert (await asked(flight), await asked(flight, SECOND)) == ([first.message], [])
    assert (await flight.stored(second.message)).status == "read"


@pytest.mark.parametrize(
    "change",
    ["expires_at = now()", "sent_at = now() - interval '25 hours'", "recipient = '1203@g.us'", "status = 'sending'"],
)
async def test_what_is_late_or_not_theirs_alone_is_not_sent_again(flight: Flight, change: str) -> None:
    """Never after its time, nor when it left over a day ago; not in a group, where others have it; not while it is on
    its way."""
    first = await sent(flight, await flight.on_its_way())
    await flight.db.execute(f"UPDATE messages SET {change} WHERE id = %s", (first.message,))
    assert await asked(flight) == []
    assert [cause for _, cause in await flight.story(first.message)] == [None]


async def test_nobody_else_s(flight: Flight) -> None:
    """An id is looked for among the tenant's own messages; of a tenant that is gone nothing is sent."""
    first = await sent(flight, await flight.on_its_way())
    assert await asked(flight, tenant="cafe") == []
    assert await asked(flight, "3EB0NOBODYS") == []
    await flight.db.execute("DELETE FROM api_keys WHERE tenant_id = 'shop'")
    assert await asked(flight) == []
    assert (await flight.stored(first.message)).status == "sent"


async def test_receipts_of_the_first_copy_do_not_take_the_second_away(flight: Flight) -> None:
    """They come from a linked device, which could read it: the phone still waits. Also when the first attempt was kept
    because its receipt came in place of WhatsApp's answer."""
    attempt = await flight.on_its_way()
    flight.keep_secret(attempt, FIRST)
    flight.encrypt(attempt)
    assert await flight.ack(FIRST)
    assert await asked(flight) == [attempt.message]
    assert not await flight.ack(FIRST)
    again = await flight.claimed(8)
    assert not await flight.ack(FIRST, "read")
    assert (await flight.stored(again.message)).status == "sending"
    assert again.message == attempt.message
