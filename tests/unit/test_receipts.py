"""Receipts against the record of the sending that they are about: whoever comes first, all are written, in order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from core.clock import Clock
from core.errors import Unavailable
from core.sessions.intake import EARLY, Intake
from core.transport.wire import Receipt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.transport.wire import ReceiptStatus

NOW = datetime(2026, 1, 5, tzinfo=UTC)


class Rows:
    """The messages that are recorded, and what was written of each. `meanwhile`: what happens during a look."""

    def __init__(self) -> None:
        self.recorded: set[str] = set()
        self.written: list[tuple[str, str]] = []
        self.meanwhile: set[str] = set()
        self.fails = 0

    async def acked(self, _: str, wa_ids: Sequence[str], status: str, __: int) -> set[str]:
        if self.fails:
            self.fails -= 1
            raise Unavailable
        known = self.recorded & set(wa_ids)
        self.written += [(wa_id, status) for wa_id in wa_ids if wa_id in known]
        self.recorded |= self.meanwhile
        return known


class Quick(Clock):
    """Nothing takes time."""

    async def sleep(self, seconds: float) -> None:
        """At once."""


def made() -> tuple[Intake, Rows]:
    rows = Rows()
    return Intake(cast("Any", None), cast("Any", rows), Quick(), process=1), rows


def receipt(status: ReceiptStatus, *ids: str) -> Receipt:
    return Receipt(ids=ids, status=status, chat="628", sender="628", at=NOW)


async def test_receipts_that_came_before_the_record_are_all_written_after_it() -> None:
    """Delivered and read both overtook it: both are told, in their order."""
    intake, rows = made()
    await intake.receipt("shop", receipt("delivered", "A"))
    await intake.receipt("shop", receipt("read", "A"))
    assert rows.written == []
    rows.recorded.add("A")
    await intake.sent("shop", "A")
    assert rows.written == [("A", "delivered"), ("A", "read")]


async def test_a_receipt_does_not_overtake_one_that_waits() -> None:
    """The message is recorded, but those who wait have not been told yet when the next receipt comes."""
    intake, rows = made()
    await intake.receipt("shop", receipt("delivered", "A"))
    rows.recorded |= {"A", "B"}
    await intake.receipt("shop", receipt("read", "A", "B"))
    assert [status for wa_id, status in rows.written if wa_id == "A"] == ["delivered", "read"]
    await intake.sent("shop", "A")
    assert sorted(rows.written) == [("A", "delivered"), ("A", "read"), ("B", "read")]


async def test_a_record_that_comes_while_its_receipt_looks_for_it_loses_nothing() -> None:
    """The receipt did not see the row, and the row's news came before the receipt began to wait."""
    intake, rows = made()
    rows.meanwhile = {"A"}
    await intake.receipt("shop", receipt("delivered", "A"))
    await intake.sent("shop", "A")
    assert rows.written == [("A", "delivered")]


async def test_receipts_outlast_an_outage() -> None:
    """While PostgreSQL is away they are tried again until they are written."""
    intake, rows = made()
    rows.recorded, rows.fails = {"A"}, 3
    await intake.receipt("shop", receipt("delivered", "A"))
    assert rows.written == [("A", "delivered")]


async def test_receipts_of_strangers_messages_do_not_gather_for_ever() -> None:
    """What a person wrote on the tenant's own phone has receipts too, and never a record."""
    intake, rows = made()
    for number in range(EARLY + 1):
        await intake.receipt("shop", receipt("delivered", f"{number}"))
    rows.recorded = {"0", "1"}
    await intake.sent("shop", "0")
    await intake.sent("shop", "1")
    assert rows.written == [("1", "delivered")]
