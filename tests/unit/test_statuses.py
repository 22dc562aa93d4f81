"""Who waits for one message, among many tenants and many events."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from core.errors import DatabaseUnavailable
from core.paths.statuses import Statuses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db.reader_store import ReaderStore


class Messages:
    """The store: each look takes until it is `answered`."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.looks: list[tuple[str, list[str]]] = []
        self.answers = asyncio.Semaphore(0)
        self.away = False

    async def moved_on(self, tenant: str, ids: Sequence[str]) -> list[str]:
        self.looks.append((tenant, sorted(ids)))
        await self.answers.acquire()
        if self.away:
            raise DatabaseUnavailable("away")
        return [message_id for message_id in ids if message_id in self.gone]


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_one_look_per_tenant_wakes_those_whose_message_moved_on() -> None:
    """However many wait and however many events there are; those of other tenants cost nothing."""
    store = Messages()
    statuses = Statuses(cast("ReaderStore", store))
    with statuses.waiter("shop", "A") as a, statuses.waiter("shop", "B") as b, statuses.waiter("shop", "A") as too:
        for _ in range(50):
            statuses.heard("shop")
            statuses.heard("cafe")
        await settle()
        assert store.looks == [("shop", ["A", "B"])]
        store.gone = {"A"}
        store.answers.release()
        await settle()
        assert (a.is_set(), too.is_set(), b.is_set()) == (True, True, False)
    statuses.heard("shop")
    await settle()
    assert len(store.looks) == 1


async def test_what_happens_during_a_look_is_seen_by_another() -> None:
    """Never two looks at once, and none is forgotten, also after PostgreSQL was away."""
    store = Messages()
    statuses = Statuses(cast("ReaderStore", store))
    with statuses.waiter("shop", "A") as changed:
        for away in (True, False):
            store.away = away
            statuses.heard("shop")
            await settle()
            statuses.heard("shop")
            store.answers.release()
            await settle()
        store.gone = {"A"}
        statuses.heard("shop")
        for _ in range(3):
            store.answers.release()
        await settle()
        assert changed.is_set()
        assert len(store.looks) >= 3
