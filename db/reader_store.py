"""Who is told of every event, and how far they have come; who waits for one message. It fails as `db.store` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db.sql import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db.database import Database


class ReaderStore:
    """Typed calls for one `reader`, a name under which its place in each tenant's events is kept; stateless but for
    its database."""

    def __init__(self, database: Database, reader: str) -> None:
        self._db, self._reader = database, reader

    async def claim(self, tenant: str, process: int, uptime: float) -> int | None:
        """The number behind which this process tells from now on; None: there is nothing new, or another living
        process tells. A new reader is told what happened in the last `uptime` seconds."""
        parameters = {"tenant": tenant, "reader": self._reader, "process": process, "uptime": uptime}
        row = await self._db.fetch_one(load("reader_claim"), parameters, idempotent=True)
        return row[0] if row else None

    async def advance(self, tenant: str, process: int, seq: int, *, ends: bool) -> bool:
        """Everything up to `seq` was told; `ends`: another process may go on. False when another one does already."""
        parameters = {"tenant": tenant, "reader": self._reader, "process": process, "seq": seq, "ends": ends}
        return bool(await self._db.fetch(load("reader_advance"), parameters, idempotent=True))

    async def behind(self) -> list[str]:
        """Tenants who have been told before, and of whom there is something new."""
        return [
            row[0] for row in await self._db.fetch(load("readers_behind"), {"reader": self._reader}, idempotent=True)
        ]

    async def forget(self, tenant: str) -> None:
        """Nobody is told of this tenant any more."""
        await self._db.fetch(load("reader_forget"), {"tenant": tenant, "reader": self._reader}, idempotent=True)

    async def moved_on(self, tenant: str, ids: Sequence[str]) -> list[str]:
        """Those of these messages that are neither queued nor sending any more."""
        rows = await self._db.fetch(load("moved_on"), {"tenant": tenant, "ids": list(ids)}, idempotent=True)
        return [row[0] for row in rows]
