"""What the sender does with a message that did not leave: whose fault it was, and who has to wait for it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from core.clock import Clock
from core.errors import SendFailed
from core.model import Outgoing, StatusChange
from core.outbox import Claimed
from core.paths.sender import OF_THE_SESSION, Sender
from core.transport.base import Sent, SessionStatus

if TYPE_CHECKING:
    from core.transport.base import Transport

NOW = datetime(2026, 1, 5, tzinfo=UTC)
SECRETS = [bytes([number]) * 32 for number in range(9)]


class Still(Clock):
    """Time passes only where the test lets it; `waits` are those who wait."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.Event().wait()

    def secret(self) -> bytes:
        return SECRETS[0]


class Line:
    """A tenant's queue and its transport."""

    name = "line"

    def __init__(self, *claims: Claimed, answers: list[Exception | str]) -> None:
        self.claims, self.answers = list(claims), answers
        self.asked: list[tuple[bytes | None, bool]] = []
        self.sent: list[tuple[str, bytes | None]] = []
        self.put_back: list[dict[str, Any]] = []
        self.recorded: list[tuple[str, str | None, bytes | None]] = []
        self.fails_for_good = False

    async def claim(self, _: str, __: int, secret: bytes | None, *, known_only: bool) -> Claimed | None:
        self.asked.append((secret, known_only))
        return self.claims.pop(0) if self.claims else None

    async def requeue(self, message_id: str, _: int, cause: str, **how: Any) -> StatusChange | None:
        self.put_back.append({"id": message_id, "cause": cause, **how})
        return change(message_id, "gave_up") if self.fails_for_good else None

    async def record(self, told: StatusChange, _: int, *, secret: bytes | None, **__: object) -> StatusChange:
        self.recorded.append((told.status, told.cause, secret))
        return told

    async def send(self, message: Outgoing, secret: bytes | None = None) -> Sent:
        self.sent.append((message.id, secret))
        answer = self.answers.pop(0) if self.answers else "3EB0"
        if isinstance(answer, Exception):
            raise answer
        return Sent(answer, NOW)

    async def typing(self, *_: object) -> None:
        """Nobody looks."""

    def status(self, _: str) -> SessionStatus:
        return SessionStatus("connected")


def change(message_id: str, cause: str) -> StatusChange:
    return StatusChange(tenant="shop", message_id=message_id, to="628", status="failed", at=NOW, cause=cause)


def claimed(name: str, secret: bytes | None = None) -> Claimed:
    return Claimed(Outgoing(id=name, tenant="shop", to=name, content="halo", expires_at=NOW), secret)


async def played(line: Line, *, known_only: bool = False) -> tuple[Still, list[StatusChange]]:
    """The queue is served until it is empty or waits; who waits, and what became of messages."""
    clock, told = Still(), list[StatusChange]()
    transport = cast("Transport", line)
    sender = Sender(
        cast("Any", line), clock, lambda _: transport, process=1, may_send=lambda: True, on_recorded=told.append,
        secret=clock.secret, known_only=lambda _: known_only,
    )  # fmt: skip
    sender.wake("shop")
    for _ in range(100):
        await asyncio.sleep(0)
    await sender.close()
    return clock, told


async def test_a_message_travels_with_the_secret_that_it_was_claimed_with() -> None:
    """Which may be another than was offered; what became of it is recorded under the same."""
    line = Line(claimed("a", SECRETS[1]), answers=[])
    await played(line)
    assert line.asked[0] == (SECRETS[0], False)
    assert line.sent == [("a", SECRETS[1])]
    assert line.recorded == [("sent", None, SECRETS[1])]


async def test_a_message_that_fails_by_itself_holds_up_nobody_else() -> None:
    """It is put back with the reason, and the next one goes at once."""
    line = Line(claimed("a", SECRETS[1]), claimed("b", SECRETS[2]), answers=[SendFailed("database", retry=True)])
    clock, told = await played(line)
    assert line.put_back == [{"id": "a", "cause": "database", "secret": SECRETS[1], "is_own": True, "pause": 0.0}]
    assert [name for name, _ in line.sent] == ["a", "b"]
    assert clock.waits == []
    assert [each.message_id for each in told] == ["b"]


@pytest.mark.parametrize("cause", sorted(OF_THE_SESSION - {"reach_out_timelock"}))
async def test_when_nothing_can_leave_everything_waits(cause: str) -> None:
    """The message counts no failure, and the others are not burnt one after another."""
    line = Line(claimed("a"), claimed("b"), answers=[SendFailed(cause, retry=True)])
    clock, _ = await played(line)
    assert [(each["id"], each["is_own"]) for each in line.put_back] == [("a", False)]
    assert line.sent == [("a", None)]
    assert len(clock.waits) == 1


async def test_a_refused_new_conversation_waits_alone() -> None:
    """As long as the session says, without a failure of its own; the others are not kept waiting."""
    refusal = SendFailed("reach_out_timelock", retry=True, pause=60.0)
    line = Line(claimed("a"), claimed("b"), answers=[refusal])
    clock, _ = await played(line, known_only=True)
    assert [(each["is_own"], each["pause"]) for each in line.put_back] == [(False, 60.0)]
    assert [name for name, _ in line.sent] == ["a", "b"]
    assert [known for _, known in line.asked] == [True, True, True]
    assert clock.waits == []


async def test_what_has_failed_for_good_is_told() -> None:
    """The eighth failure is a final word."""
    line = Line(claimed("a"), answers=[SendFailed("database", retry=True)])
    line.fails_for_good = True
    _, told = await played(line)
    assert [(each.message_id, each.cause) for each in told] == [("a", "gave_up")]


async def test_the_same_attempt_is_never_handed_over_twice_and_a_new_one_is() -> None:
    """A claim that comes again with the same secret is one whose record went wrong; with another secret somebody has
    made sure that the first did not leave."""

    class Forgetful(Line):
        async def record(self, told: StatusChange, _: int, *, secret: bytes | None, **__: object) -> StatusChange:
            if len(self.recorded) == 0:
                self.recorded.append(("lost", None, secret))
                raise RuntimeError("the sender stops here")
            return await super().record(told, _, secret=secret)

    line = Forgetful(claimed("a", SECRETS[1]), claimed("a", SECRETS[1]), claimed("a", SECRETS[2]), answers=[])
    clock = Still()
    sender = Sender(
        cast("Any", line), clock, lambda _: cast("Transport", line), process=1, may_send=lambda: True,
        on_recorded=lambda _: None, secret=clock.secret,
    )  # fmt: skip
    for _ in range(2):
        sender.wake("shop")
        for _turn in range(100):
            await asyncio.sleep(0)
    assert line.sent == [("a", SECRETS[1]), ("a", SECRETS[2])]
    assert line.recorded[1:] == [("unknown", "not_recorded", SECRETS[1]), ("sent", None, SECRETS[2])]
