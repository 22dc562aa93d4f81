"""What has happened to tenants, read from `events`. It fails as `db.store` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.event_rows import Event, EventPage
from db.sql import load

if TYPE_CHECKING:
    from collections.abc import Collection

    from db.database import Database

EVERYTHING = ("*",)


def patterns(types: Collection[str]) -> list[str]:
    """As LIKE wants them."""
    return [kind.replace("_", r"\_").replace("*", "%") for kind in types]


class EventStore:
    """Typed calls; stateless but for its database."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def after(self, tenant: str, seq: int, most: int, types: Collection[str] = EVERYTHING) -> EventPage:
        """The tenant's next `most` events of these types (`message.*`, `session.connected`, `*`) after number `seq`.
        A page without events still tells how far it has looked."""
        parameters = {"tenant": tenant, "after": seq, "types": patterns(types), "most": most}
        (last, *_, span), *rows = await self._db.fetch(load("events_after"), parameters, idempotent=True)
        events = tuple(Event(*row) for row in rows)
        passed = events[-1].seq if len(events) == most else max(last, seq)
        return EventPage(events, passed, first=span["first"], last=last)

    async def forget(self, days: int, most: int) -> int:
        """Delete up to `most` events that are older than `days`; how many there were."""
        row = await self._db.fetch_one(load("forget_events"), (days, most))
        return row[0] if row else 0
