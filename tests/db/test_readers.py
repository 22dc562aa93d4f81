"""How far plugins were told of a tenant's events: one process at a time, on from where the last one came to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from db.reader_store import ReaderStore
from tests.db.candidates import KEY, Door, candidate
from tests.db.test_sessions import living

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from db.database import Database

LONG = 1e6


@pytest.fixture
async def readers(db: Database) -> ReaderStore:
    return ReaderStore(db, "plugins")


@pytest.fixture
async def happens(db: Database) -> Callable[..., Awaitable[None]]:
    """Makes events of the tenant `shop`."""

    async def happen(*types: str) -> None:
        for kind in types:
            await db.execute("SELECT tell_v1('shop', %s, NULL, NULL, NULL, NULL)", (kind,))

    return happen


async def test_one_living_process_tells_on_from_where_the_last_one_came_to(
    readers: ReaderStore, happens: Callable[..., Awaitable[None]], database_url: str
) -> None:
    """Who comes second has nothing to do, until the first one lets go or dies; nothing new is nothing to do."""
    assert await readers.claim("shop", 1, LONG) is None
    await happens("message.a", "message.b", "message.c")
    with living(database_url, 1, 2):
        assert await readers.claim("shop", 1, LONG) == 0
        assert await readers.claim("shop", 1, LONG) == 0
        assert await readers.claim("shop", 2, LONG) is None
        assert await readers.advance("shop", 1, 2, ends=True)
        assert await readers.claim("shop", 2, LONG) == 2
        assert not await readers.advance("shop", 1, 3, ends=True)
    with living(database_url, 1):
        assert await readers.claim("shop", 1, LONG) == 2
        assert await readers.advance("shop", 1, 3, ends=False)
        assert await readers.claim("shop", 1, LONG) is None
        await happens("message.d")
        assert await readers.claim("shop", 1, LONG) == 3


async def test_a_new_reader_hears_what_happened_since_its_gateway_began(
    readers: ReaderStore, happens: Callable[..., Awaitable[None]], db: Database
) -> None:
    """And not what happened before there was anybody who wanted to hear it."""
    await happens("message.a", "message.b", "message.c")
    await db.execute("UPDATE events SET at = at - interval '10 minutes' WHERE seq <= 2")
    assert await readers.claim("shop", 1, 60) == 2


@pytest.mark.parametrize(("away", "told_after"), [("59 minutes", 1), ("61 minutes", 2)])
async def test_after_a_long_absence_old_news_is_left_out(
    readers: ReaderStore, happens: Callable[..., Awaitable[None]], db: Database, away: str, told_after: int
) -> None:
    """What is older than an hour when a gateway comes back is no news any more."""
    await happens("message.a")
    await readers.claim("shop", 1, LONG)
    await readers.advance("shop", 1, 1, ends=True)
    await happens("message.b", "message.c")
    await db.execute("UPDATE events SET at = at - %s::interval WHERE seq <= 2", (away,))
    await db.execute("UPDATE event_readers SET at = at - %s::interval", (away,))
    assert await readers.behind() == ["shop"]
    assert await readers.claim("shop", 1, LONG) == told_after


async def test_numbers_that_begin_anew_are_told_anew(
    readers: ReaderStore, happens: Callable[..., Awaitable[None]], db: Database
) -> None:
    """A tenant of the same name as one that was removed."""
    await happens("message.a", "message.b")
    await readers.claim("shop", 1, LONG)
    await readers.advance("shop", 1, 2, ends=True)
    await db.execute("DELETE FROM events")
    await db.execute("DELETE FROM event_heads")
    await happens("message.a")
    assert await readers.behind() == ["shop"]
    assert await readers.claim("shop", 1, LONG) == 0


async def test_a_tenant_that_wants_to_hear_no_more_is_not_behind(
    readers: ReaderStore, happens: Callable[..., Awaitable[None]]
) -> None:
    """Its row goes with it; one that never wanted has none."""
    await happens("message.a")
    assert await readers.behind() == []
    await readers.claim("shop", 1, 0)
    await happens("message.b")
    assert await readers.behind() == ["shop"]
    await readers.forget("shop")
    assert await readers.behind() == []


async def test_who_waits_is_told_of_messages_that_have_moved_on(readers: ReaderStore, db: Database) -> None:
    """Neither queued nor sending; another tenant's are nobody's business."""
    door = Door(db)
    await door.store.add_tenant("shop", KEY)
    waits, gone = candidate(), candidate()
    await door.admit(waits, gone)
    ids = [waits.message.id, gone.message.id]
    await door.store.cancel("shop", gone.message.id)
    assert await readers.moved_on("shop", ids) == [gone.message.id]
    assert await readers.moved_on("cafe", ids) == []
