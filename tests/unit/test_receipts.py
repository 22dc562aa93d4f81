"""Receipts become rows, in their order, each until it is written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from core.clock import Clock
from core.errors import StatementRejected, Unavailable
from core.sessions.intake import Intake
from core.transport.wire import Receipt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.transport.wire import ReceiptStatus

NOW = datetime(2026, 1, 5, tzinfo=UTC)


class Rows:
    """What was written of each message, and the errors that come first."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.written: list[tuple[str, str]] = []

    async def acked(self, _: str, wa_ids: Sequence[str], status: str, __: int) -> set[str]:
        if self.errors:
            raise self.errors.pop(0)
        self.written += [(wa_id, status) for wa_id in wa_ids]
        return set(wa_ids)


class Quick(Clock):
    """Nothing takes time."""

    async def sleep(self, seconds: float) -> None:
        """At once."""


async def taken(rows: Rows, *receipts: Receipt) -> None:
    intake = Intake(cast("Any", None), cast("Any", rows), Quick(), process=1)
    for each in receipts:
        await intake.receipt("shop", each)


def receipt(status: ReceiptStatus, *ids: str) -> Receipt:
    return Receipt(ids=ids, status=status, chat="628", sender="628", at=NOW)


async def test_receipts_outlast_an_outage() -> None:
    """While PostgreSQL is away they are tried again until they are written; those behind them wait."""
    rows = Rows(*(Unavailable() for _ in range(3)))
    await taken(rows, receipt("delivered", "A", "B"), receipt("read", "A"))
    assert rows.written == [("A", "delivered"), ("B", "delivered"), ("A", "read")]


async def test_a_receipt_that_postgresql_refuses_keeps_nobody_waiting() -> None:
    """It would refuse it tomorrow too."""
    rows = Rows(StatementRejected("22021", "no text"))
    await taken(rows, receipt("delivered", "A"), receipt("read", "A"))
    assert rows.written == [("A", "read")]
