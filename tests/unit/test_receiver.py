"""Incoming messages in a gateway in which something goes wrong that nobody expects."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from core.clock import Clock
from core.model import Incoming
from core.paths.receiver import Receiver

if TYPE_CHECKING:
    import pytest

    from core.paths.admission import Admission
    from core.tenants import Tenants
    from db.store import Store

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def letter(id: str) -> Incoming:
    return Incoming(id=id, tenant="shop", chat="62851", sender="62851", content="halo", at=NOW)


class QuickClock(Clock):
    """Nobody waits."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class FakeStore:
    """Rows that are claimed until they are done; writing the first one down fails once, as nobody expects."""

    def __init__(self, *messages: Incoming) -> None:
        self.rows = dict(enumerate(messages, 1))
        self.done: list[str] = []
        self.all_done = asyncio.Event()
        self._fails = True

    async def claim_incoming(self, process: int, in_hand: tuple[int, ...], most: int) -> list[tuple[int, Incoming]]:
        return [(number, row) for number, row in self.rows.items() if number not in in_hand][:most]

    async def incoming_done(self, message: Incoming, replies: list[dict[str, Any]]) -> None:
        if self._fails:
            self._fails = False
            raise RuntimeError("nobody expects this")
        self.done.append(message.id)
        self.rows = {number: row for number, row in self.rows.items() if row.id != message.id}
        if not self.rows:
            self.all_done.set()


class NoPlugins:
    """Every tenant's hooks: nobody answers."""

    def hooks(self, tenant: str) -> NoPlugins:
        return self

    async def collect_settled(self, hook: str, *, message: Incoming) -> tuple[list[Any], list[Any]]:
        return [], []


async def test_an_error_that_nobody_expects_loses_no_message(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged with its tenant, the message is shown again, and those behind it are shown too."""
    store = FakeStore(*(letter(f"L{n}") for n in range(3)))
    receiver = Receiver(
        cast("Store", store), QuickClock(), cast("Tenants", NoPlugins()), cast("Admission", None), process=1
    )
    running = asyncio.create_task(receiver.run())
    async with asyncio.timeout(60):
        await store.all_done.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert sorted(store.done) == ["L0", "L1", "L2"]
    [failure] = [record for record in caplog.records if getattr(record, "action", "") == "receiver.failed"]
    assert (failure.__dict__["tenant"], failure.getMessage()) == ("shop", "L0 is shown again")
