"""core.transport.dry_run: sends nothing, remembers what it would have sent, and can be told to fail."""

import io
from datetime import UTC, datetime, timedelta

import pytest

from core.clock import Clock
from core.errors import SendFailed
from core.model import Outgoing
from core.transport.base import Sent, SessionStatus, Transport
from core.transport.dry_run import REMEMBERED, DryRun

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class StoppedClock(Clock):
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.at = NOON

    def now(self) -> datetime:
        return self.at


def message(content: str = "hello", number: int = 1) -> Outgoing:
    return Outgoing(id=f"m{number}", tenant="shop", to="628123456789", content=content, expires_at=NOON)


async def test_a_send_is_remembered_and_answered() -> None:
    """A message gets an id that shows it never left, the clock's time, and a place in `sent`."""
    transport: Transport = DryRun(StoppedClock(), io.StringIO())
    assert await transport.send(message()) == Sent(wa_id="DRYRUN-m1", at=NOON)
    assert isinstance(transport, DryRun)
    assert list(transport.sent) == [message()]


async def test_a_queued_failure_is_raised_once() -> None:
    """The next send raises what a test queued, and nothing counts as sent; the one after goes through."""
    out = io.StringIO()
    transport = DryRun(StoppedClock(), out)
    transport.answers.append(SendFailed("timelock", left=True))
    with pytest.raises(SendFailed) as caught:
        await transport.send(message())
    assert (caught.value.cause, caught.value.left) == ("timelock", True)
    assert (list(transport.sent), out.getvalue()) == ([], "")
    assert (await transport.send(message())).wa_id == "DRYRUN-m1"


async def test_a_queued_answer_is_returned() -> None:
    """A test may choose the WhatsApp id and the time."""
    transport = DryRun(StoppedClock(), io.StringIO())
    transport.answers.append(Sent(wa_id="3EB0", at=NOON))
    assert (await transport.send(message())).wa_id == "3EB0"
    assert len(transport.sent) == 1


async def test_memory_stays_flat() -> None:
    """Only the last 1000 sends are kept."""
    transport = DryRun(StoppedClock(), io.StringIO())
    for number in range(REMEMBERED + 5):
        await transport.send(message(number=number))
    assert len(transport.sent) == REMEMBERED == 1000
    assert transport.sent[0].id == "m5"


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("hello", "hello"),
        ("dunia é 🌏", "dunia é 🌏"),
        ("one\ntwo\r\tthree", r"one\ntwo\r\tthree"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 60 + "…"),
    ],
)
async def test_one_line_tells_of_a_send(content: str, shown: str) -> None:
    """Time, tenant, recipient and the beginning of the text stand on exactly one line, whatever the text contains."""
    out = io.StringIO()
    await DryRun(StoppedClock(), out).send(message(content))
    assert out.getvalue() == f"2026-03-01 12:00:00Z dry_run shop -> 628123456789: {shown}\n"


async def test_stderr_is_where_it_tells(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a stream of its own it writes to stderr; stdout stays clean for the ready line."""
    await DryRun(StoppedClock()).send(message())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "628123456789: hello" in captured.err


async def test_a_closed_stream_does_not_fail_the_send() -> None:
    """The message counts as sent although nobody could be told."""
    out = io.StringIO()
    out.close()
    transport = DryRun(StoppedClock(), out)
    await transport.send(message())
    assert len(transport.sent) == 1


def test_connected_since_it_was_made() -> None:
    """Every tenant is connected, since the transport was created."""
    clock = StoppedClock()
    transport = DryRun(clock, io.StringIO())
    clock.at += timedelta(hours=1)
    assert transport.name == "dry_run"
    assert transport.status("shop") == SessionStatus(state="connected", since=NOON)
