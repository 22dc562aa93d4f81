"""When the sender looks for the next message, and when its recipient sees it being written. Time is played."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from core.clock import Clock
from core.model import Outgoing
from core.outbox import Claimed, Wait
from core.paths.sender import LONGEST_WAIT, TYPING, Sender
from core.transport.base import Sent, SessionStatus

if TYPE_CHECKING:
    from core.model import StatusChange

NOW = datetime(2026, 1, 5, tzinfo=UTC)
SECONDS = pytest.approx
BUDI, CAROL = "628222222222", "628333333333"


class Played(Clock):
    """Sleeping takes no time; `passed` says how much it should have taken."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return 1000.0 + self.passed

    async def sleep(self, seconds: float) -> None:
        self.passed += seconds


class Line:
    """A tenant's queue and its transport: answers claims as scripted, and keeps what happened, when."""

    name = "line"

    def __init__(self, clock: Played, *answers: Claimed | Wait) -> None:
        self.clock, self.answers = clock, list(answers)
        self.claims: list[float] = []
        self.typed: list[tuple[float, str]] = []

    async def claim(self, *_: object, **__: object) -> Claimed | Wait | None:
        self.claims.append(self.clock.passed)
        return self.answers.pop(0) if self.answers else None

    async def record(self, change: StatusChange, *_: object, **__: object) -> None:
        """Nothing to keep."""

    async def send(self, _: Outgoing, __: bytes | None = None) -> Sent:
        return Sent("3EB0", NOW)

    async def typing(self, _: str, to: str) -> None:
        self.typed.append((self.clock.passed, to))

    def status(self, _: str) -> SessionStatus:
        return SessionStatus("connected")


def message(to: str) -> Claimed:
    return Claimed(Outgoing(id=to, tenant="shop", to=to, content="halo", expires_at=NOW + timedelta(days=1)))


async def played(*answers: Claimed | Wait) -> Line:
    """What happens until the queue is empty."""
    clock = Played()
    line = Line(clock, *answers)
    sender = Sender(
        cast("Any", line), clock, lambda _: line, process=1, may_send=lambda: True, on_recorded=lambda _: None
    )
    sender.wake("shop")
    while len(line.claims) <= len(answers):
        await asyncio.sleep(0)
    await sender.close()
    return line


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.05, 0.2, 1.0, 3.9])
async def test_a_message_that_is_due_soon_is_claimed_when_it_is_due(seconds: float) -> None:
    """Not a rest later: callers were promised the time."""
    line = await played(Wait(seconds, to=BUDI), message(BUDI))
    assert line.claims[1] == SECONDS(seconds)


@pytest.mark.parametrize("seconds", [4.1, 5.0, 8.0, 20.0])
async def test_the_last_seconds_before_a_message_it_is_seen_being_typed(seconds: float) -> None:
    """Whatever the gap: the line is looked at again when typing should begin, as somebody else may be next by then."""
    line = await played(Wait(seconds, to=BUDI), Wait(TYPING, to=CAROL), message(CAROL))
    assert line.claims[1] == SECONDS(seconds - TYPING)
    assert [to for _, to in line.typed] == [CAROL]
    assert line.claims[2] == SECONDS(seconds)


async def test_a_long_wait_is_looked_at_now_and_then() -> None:
    """Clocks are corrected, and another gateway may have left something."""
    line = await played(Wait(3600, to=BUDI), Wait(3600), message(BUDI))
    assert line.claims[1] <= LONGEST_WAIT + 1
    assert line.typed == []


async def test_typing_is_shown_once_a_message_and_not_in_its_last_moment() -> None:
    """Looking again shows nothing twice; what might arrive after the message is not begun; nobody is named where it is
    not the gap that is missing."""
    line = await played(
        Wait(3, to=BUDI), Wait(2, to=BUDI), message(BUDI), Wait(0.2, to=CAROL), message(CAROL), Wait(3), message(BUDI),
        Wait(1, to=BUDI), message(BUDI),
    )  # fmt: skip
    assert [to for _, to in line.typed] == [BUDI, BUDI]
