"""A session process takes a tenant: what an earlier holder had on its way is settled before anything is opened."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from core.clock import Clock
from core.errors import DatabaseUnavailable
from core.session_rows import FreeConnections, Lease
from core.sessions.protocol import Begin, Close, Closed, Open
from core.sessions.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from core.sessions.protocol import Report


class Rows:
    """Both stores, and what they were asked, in order."""

    def __init__(self, *, away: bool = False) -> None:
        self.asked: list[str] = []
        self.away = away
        self.entered = asyncio.Event()
        self.may_lease = asyncio.Event()
        self.may_lease.set()

    async def lease(self, process: int, tenants: Collection[str], seconds: float) -> list[Lease]:
        self.asked += [f"lease {tenant}" for tenant in tenants]
        await self.may_lease.wait()
        return [Lease(tenant, 1, None, False) for tenant in tenants]

    async def settle(self, grace: float, tenant: str) -> list[object]:
        self.asked.append(f"settle {tenant} {grace:g}")
        if self.away:
            raise DatabaseUnavailable("away")
        return []

    async def changed(self, process: int, tenant: str, state: str, *_: object) -> bool:
        self.asked.append(f"{tenant} is {state}")
        self.entered.set()
        return True

    async def free_connections(self) -> FreeConnections:
        return FreeConnections(100, 100, 1)

    async def release(self, *_: object) -> None:
        self.asked.append("let go")


def working(rows: Rows, report: Callable[[Report], None]) -> Worker:
    """A worker on these rows, without a WhatsApp."""
    return Worker(
        cast("Any", rows), cast("Any", rows), Clock(), Begin("", 1, 60.0, 6.0), cast("Any", None),
        connect=cast("Any", None), report=report, is_listening=lambda: True,
    )  # fmt: skip


@pytest.mark.parametrize("away", [False, True])
async def test_what_an_earlier_holder_had_on_its_way_is_settled_first(away: bool) -> None:
    """At once, as nobody else can send for the tenant any more; if PostgreSQL cannot do it now, housekeeping will, and
    the session is opened all the same."""
    rows = Rows(away=away)
    worker = working(rows, lambda _: None)
    worker.obey(Open("shop"))
    await asyncio.wait_for(rows.entered.wait(), 60)
    await worker.close()
    assert rows.asked[:3] == ["lease shop", "settle shop 0", "shop is unpaired"]


async def test_a_close_that_overtakes_the_lease_is_obeyed() -> None:
    """The tenant is let go as soon as it was taken, and the supervisor hears so: until then it hands nobody over."""
    rows, closed = Rows(), asyncio.Event()
    told: list[Report] = []

    def report(said: Report) -> None:
        told.append(said)
        if isinstance(said, Closed):
            closed.set()

    worker = working(rows, report)
    worker.database_lost()  # or the session would end by itself, as it has no device here
    rows.may_lease.clear()
    worker.obey(Open("shop"))
    worker.obey(Close("shop", "handed over"))
    for _ in range(10):
        await asyncio.sleep(0)
    rows.may_lease.set()
    await asyncio.wait_for(closed.wait(), 60)
    assert "let go" in rows.asked
    assert told == [Closed("shop", rests=False)]
    await worker.close()
