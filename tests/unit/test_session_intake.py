"""What comes in while PostgreSQL is away, or that it does not want; receipts have tests/unit/test_receipts.py."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from core.clock import Clock
from core.errors import DatabaseUnavailable, StatementRejected
from core.sessions.intake import Intake
from core.transport.wire import Received, Signal, Unreadable

if TYPE_CHECKING:
    from core.model import Incoming
    from core.session_rows import Arrival
    from core.transport.wire import ReceivedKind
    from db.session_store import SessionStore
    from db.store import Store

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Rows:
    """The store. `failures` come first."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, str]] = []
        self.failures: list[Exception] = []

    async def add_incoming(self, message: Incoming, kind: ReceivedKind) -> bool:
        if self.failures:
            raise self.failures.pop(0)
        self.kept.append((kind, message.content))
        return True

    async def arrived(self, tenant: str, message_id: str) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.kept.append((tenant, message_id))

    async def miss(self, message: Arrival) -> None:
        self.kept.append(("missed", message.id))


class Instantly(Clock):
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


def intake_of(rows: Rows) -> Intake:
    return Intake(cast("Store", rows), cast("SessionStore", rows), Instantly(), process=1)


def received(text: str, **fields: Any) -> Received:
    return Received(id="A1", chat="628222", sender="628222", content=text, at=AT, **fields)


async def test_what_comes_in_waits_for_postgresql_but_not_for_what_it_refuses() -> None:
    """Away: again until it is written. Refused for good: logged, and the next one goes on."""
    rows = Rows()
    intake = intake_of(rows)
    rows.failures = [DatabaseUnavailable("away"), DatabaseUnavailable("away")]
    await intake.message("shop", received("one"))
    rows.failures = [StatementRejected("22021", "no")]
    await intake.message("shop", received("two"))
    await intake.message("shop", received("three\0"))
    assert rows.kept == [("text", "one"), ("text", "three")]


async def test_own_messages_are_nobody_s_news() -> None:
    """A plugin never sees what the tenant wrote itself."""
    rows = Rows()
    await intake_of(rows).take("shop", received("mine", from_me=True))
    assert rows.kept == []


async def test_every_kind_of_message_is_kept_with_the_words_that_it_has() -> None:
    """A picture is as little to be lost as a text."""
    rows = Rows()
    intake = intake_of(rows)
    await intake.take("shop", received("look", kind="image"))
    await intake.take("shop", received("", kind="unsupported"))
    assert rows.kept == [("image", "look"), ("unsupported", "")]


async def test_what_is_only_a_signal_or_cannot_be_read_again_is_noted_also_after_an_outage() -> None:
    """Neither becomes a message; a signal is no loss, and what is unreadable may be one."""
    rows = Rows()
    intake = intake_of(rows)
    rows.failures = [DatabaseUnavailable("away")]
    await intake.take("shop", Signal("S1"))
    await intake.take("shop", Unreadable("U1", "100@lid", "100@lid"))
    assert rows.kept == [("shop", "S1"), ("missed", "U1")]
