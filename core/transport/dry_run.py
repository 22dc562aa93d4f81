"""A transport that sends nothing: it remembers, and tells stderr. For trying Gapura out, for demos and for tests."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from typing import TYPE_CHECKING, TextIO

from core.transport.base import Sent, SessionStatus

if TYPE_CHECKING:
    from core.clock import Clock
    from core.model import Outgoing

REMEMBERED = 1000
SHOWN = 60


class DryRun:
    """Takes every message of every tenant as sent at once.

    `sent` holds the last 1000 messages that went out, oldest first. `answers` is for tests: the next send takes the
    oldest of them, raising it if it is an exception (`SendFailed("…")`) and returning it if it is a `Sent`. One line
    per send goes to `out`, or to what sys.stderr is at that moment; a closed or full stream does not fail the send.
    """

    name = "dry_run"

    def __init__(self, clock: Clock, out: TextIO | None = None) -> None:
        self._clock, self._out = clock, out
        self._status = SessionStatus(state="connected", since=clock.now())
        self.sent: deque[Outgoing] = deque(maxlen=REMEMBERED)
        self.answers: deque[Exception | Sent] = deque()

    def status(self, tenant: str) -> SessionStatus:
        """Connected since the transport was made, whoever asks."""
        return self._status

    async def send(self, message: Outgoing, _: bytes | None = None) -> Sent:
        """Remember the message and tell of it. Raises what a test has put into `answers`."""
        answer = self.answers.popleft() if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        sent = answer or Sent(wa_id=f"DRYRUN-{message.id}", at=self._clock.now())
        self.sent.append(message)
        self._tell(message, sent)
        return sent

    async def typing(self, tenant: str, to: str) -> None:
        """Nobody is there to see it."""

    def _tell(self, message: Outgoing, sent: Sent) -> None:
        line = f"{sent.at:%Y-%m-%d %H:%M:%S}Z dry_run {message.tenant} -> {message.to}: {_glimpse(message.content)}\n"
        stream = self._out or sys.stderr
        with contextlib.suppress(OSError, ValueError):
            stream.write(line)
            stream.flush()


def _glimpse(text: str) -> str:
    """The beginning of a text on one line; what a terminal would obey is spelled out."""
    start = text[:SHOWN]
    visible = "".join(c if c.isprintable() else repr(c)[1:-1] for c in start)
    return visible + ("…" if len(text) > len(start) else "")
