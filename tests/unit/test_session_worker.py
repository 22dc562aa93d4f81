"""The end of a session process: what it still writes before it lets go."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from core.clock import Clock
from core.model import StatusChange
from core.session_rows import FreeConnections
from core.sessions import worker as module
from core.sessions.protocol import Begin
from core.sessions.worker import Worker
from core.transport.wire import Receipt

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = datetime(2026, 1, 5, tzinfo=UTC)
SENT = StatusChange(tenant="shop", message_id="m", to="628", status="sent", at=NOW)


class Rows:
    """Both stores: what was written, in its order. `answers` is set while PostgreSQL answers."""

    def __init__(self) -> None:
        self.recorded: set[str] = set()
        self.written: list[str] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def acked(self, _: str, wa_ids: Sequence[str], status: str, __: int) -> set[str]:
        await self.answers.wait()
        for _turn in range(20):
            await asyncio.sleep(0)
        known = self.recorded & set(wa_ids)
        self.written += [f"{wa_id} {status}" for wa_id in wa_ids if wa_id in known]
        return known

    async def free_connections(self) -> FreeConnections:
        return FreeConnections(100, 100, 1)

    async def release(self, *_: Any) -> None:
        self.written.append("let go")


@pytest.fixture
async def rows(loop: asyncio.AbstractEventLoop) -> Rows:
    """PostgreSQL answers, slowly."""
    return Rows()


async def with_an_early_receipt(rows: Rows) -> Worker:
    """A session process that has a receipt of a message which is recorded just now."""
    worker = Worker(
        cast("Any", rows), cast("Any", rows), Clock(), Begin("", 1, 60.0, 6.0), cast("Any", None),
        connect=cast("Any", None), report=lambda _: None, is_listening=lambda: True,
    )  # fmt: skip
    await worker.intake.receipt("shop", Receipt(ids=("A",), status="read", chat="628", sender="628", at=NOW))
    rows.recorded.add("A")
    worker._recorded(SENT, "A")
    return worker


async def test_a_receipt_that_came_before_its_record_is_written_at_the_end(rows: Rows) -> None:
    """The phone has said it once, and says it to nobody again."""
    worker = await with_an_early_receipt(rows)
    await worker.close()
    assert rows.written == ["A read", "let go"]


async def test_the_end_does_not_wait_for_ever(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PostgreSQL that does not answer costs the receipt, and not the order of the end."""
    monkeypatch.setattr(module, "_RECEIPTS", 0.01)
    worker = await with_an_early_receipt(rows)
    rows.answers.clear()
    await worker.close()
    assert rows.written == ["let go"]
    rows.answers.set()
    await asyncio.wait(worker._late_receipts)
