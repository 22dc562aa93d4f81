"""What is sent to tenants' endpoints, in PostgreSQL. It fails as `db.store` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.callback_rows import Delivery, EndpointState, Posting, Work
from db.event_store import patterns
from db.sql import load

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from core.callback_rows import DeliveryStatus, Result
    from db.database import Database

    Where = tuple[str, str]
    """(tenant, the endpoint's name)"""


class CallbackStore:
    """Typed calls; stateless but for its database."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # The engine

    async def begin(self, endpoints: Sequence[Where], age: float) -> None:
        """Those of these endpoints that are new begin with what happened in the last `age` seconds."""
        tenants, names = [tenant for tenant, _ in endpoints], [name for _, name in endpoints]
        await self._db.fetch(load("callbacks_begin"), (tenants, names, age), idempotent=True)

    async def due(self, endpoints: Sequence[Where]) -> list[Where]:
        """Which of these endpoints have something to be sent, or are to `begin`."""
        tenants, names = [tenant for tenant, _ in endpoints], [name for _, name in endpoints]
        rows = await self._db.fetch(load("callbacks_due"), (tenants, names), idempotent=True)
        return [(tenant, name) for tenant, name in rows]

    async def claim(
        self, where: Where, types: Collection[str], process: int, in_hand: Collection[str], most: int
    ) -> Work | None:
        """Up to `most` deliveries that are now this process's to post, oldest event first. `in_hand`: ids of those it
        is posting; others that have its number were claimed in vain, because the answer was lost. None:
        the endpoint is to `begin` first."""
        parameters = {
            "tenant": where[0], "endpoint": where[1], "types": patterns(types), "process": process,
            "in_hand": list(in_hand), "most": most,
        }  # fmt: skip
        rows = await self._db.fetch(load("callbacks_claim"), parameters, idempotent=True)
        if not rows:
            return None
        postings = [
            Posting(row[0], seq=row[1], tries=row[3], failures=row[4], left=row[5])
            for row in rows
            if row[0] is not None and not row[6]
        ]
        return Work(
            postings=tuple(sorted(postings, key=lambda posting: posting.seq)),
            full=any(row[7] for row in rows),
            dead=tuple((row[0], row[2]) for row in rows if row[6]),
        )

    async def record(self, delivery: str, process: int, result: Result) -> bool:
        """Write what came of a post; False when the delivery was another's by then. Not repeated after a lost
        connection: the row stays this process's, and a later `claim` frees it."""
        parameters = {
            "id": delivery, "process": process, "status": result.status, "http_status": result.http_status,
            "error": result.error, "wait": result.wait, "rest": result.rest,
        }  # fmt: skip
        return await self._db.fetch_one(load("callback_record"), parameters) == (True,)

    # Looking and trying again

    async def deliveries(
        self,
        tenant: str | None,
        most: int,
        *,
        status: DeliveryStatus | None = None,
        endpoint: str | None = None,
        after: str | None = None,
    ) -> list[Delivery]:
        """Up to `most`, the newest event first (of all tenants, by tenant, when that is None); those behind the
        delivery `after` in this order."""
        parameters = {"tenant": tenant, "endpoint": endpoint, "status": status, "after": after, "most": most}
        return [Delivery(*row) for row in await self._db.fetch(load("callbacks"), parameters, idempotent=True)]

    async def delivery(self, delivery: str, tenant: str | None = None) -> Delivery | None:
        """One delivery of this tenant (None: of any). `delivery` is a UUID."""
        row = await self._db.fetch_one(load("callback"), {"id": delivery, "tenant": tenant}, idempotent=True)
        return Delivery(*row) if row else None

    async def endpoints(self, tenant: str | None = None) -> list[EndpointState]:
        """How the endpoints fare that this tenant (None: any) has or had."""
        rows = await self._db.fetch(load("callback_endpoints"), {"tenant": tenant}, idempotent=True)
        return [EndpointState(*row) for row in rows]

    async def dead(self, tenant: str, endpoint: str | None, most: int) -> list[str]:
        """Ids of the tenant's dead deliveries (to this endpoint), the oldest events first."""
        parameters = {"tenant": tenant, "endpoint": endpoint, "most": most}
        rows = await self._db.fetch(load("callbacks_dead"), parameters, idempotent=True)
        return [row[0] for row in rows]

    async def redeliver(self, ids: Sequence[str]) -> int:
        """Those of these that are not pending are tried for another day; how many they are."""
        row = await self._db.fetch_one(load("callbacks_redeliver"), (list(ids),))
        return row[0] if row else 0

    async def forget(self, days: int, most: int) -> int:
        """Delete up to `most` deliveries of events more than `days` days ago; how many there were."""
        row = await self._db.fetch_one(load("forget_callbacks"), (days, most))
        return row[0] if row else 0
