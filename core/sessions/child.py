"""A session process as its supervisor sees it: started, told, listened to, ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from core.sessions.inheritance import inherited
from core.sessions.protocol import (
    Answered,
    Begin,
    Closed,
    Logout,
    Open,
    Opened,
    Opening,
    Pair,
    Reconnect,
    line,
    report,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from core.clock import Clock
    from core.sessions.loopback import Loopback
    from core.sessions.protocol import Order, Reports

log = logging.getLogger(__name__)

_STRIDE = 4.0
"""Seconds of silence that one look can find at most: when we stood still ourselves, we have not heard either."""

_BIRTH = 60.0
"""Seconds until a new process must have said something: it loads the library first."""

_PARTING = 1.0
"""Seconds that a process may live after it has closed its stdout."""

_LONGEST_LINE = 1 << 16
_NOISE = b"Press Ctrl+C to exit"
_DEATH = (b"fatal error:", b"panic:", b"runtime:", b"SIG", b"unexpected fault address")


def starter(  # noqa: PLR0913 - what a session process has to know
    program: Path,
    database: str,
    clock: Clock,
    loopback: Loopback | None,
    *,
    timelock_pause: float,
    keep_connections: float,
    stuck_after: float,
) -> Callable[[int, Callable[[], None]], Awaitable[Child]]:
    """What starts a session process, given its number and whom to tell when it has reported something. `program`:
    run.py; `stuck_after`: seconds of silence after which it is taken for stuck and killed; the others: see Begin."""
    # Unasked, neonize marks every message to a person as a business bot's.
    environ = {**inherited(os.environ), "NEONIZE_BOT_TAG": "off"}
    if loopback is not None:
        # The library reads the environment that its process was started with, and not what Python adds later.
        environ["SSL_CERT_FILE"] = str(loopback.ca_file)
    attach = (loopback.proxy, loopback.root_key) if loopback else None

    async def start(number: int, on_report: Callable[[], None]) -> Child:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(program), "session-process", str(os.getpid()),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
            env=environ, start_new_session=True,  # Ctrl-C is for the supervisor, which ends it in order
        )  # fmt: skip
        begin = Begin(database, number, timelock_pause, keep_connections, attach)
        return Child(process, begin, clock, on_report, stuck_after=stuck_after)

    return start


async def _next_line(stream: asyncio.StreamReader) -> bytes:
    """Empty at the end; the beginning of a line that is too long."""
    try:
        return await stream.readuntil()
    except asyncio.IncompleteReadError as end:
        return end.partial
    except asyncio.LimitOverrunError as error:
        return await stream.read(error.consumed)


class Child:
    """What it has told waits in `closed`, `opened` and `answers` until the supervisor hears it;
    `opening` is who was under suspicion when it said its last word."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        begin: Begin,
        clock: Clock,
        on_report: Callable[[], None],
        *,
        stuck_after: float,
    ) -> None:
        self.number = begin.process
        self.tenants: set[str] = set()
        """Whom it was told to open, without those that it has closed since."""
        self.pairs: str | None = None
        self.leaves = self.was_useful = False
        """Its pairing is over, and its end is expected; it has come so far as to open something."""
        self.opening: set[str] = set()
        self.opened: deque[str] = deque()
        self.closed: deque[Closed] = deque()
        self.answers: deque[Answered] = deque()
        self.calls: set[int] = set()
        """Commands that it has not answered yet."""
        self._process, self._clock, self._on_report = process, clock, on_report
        self._stuck_after, self._silence, self._looked = max(stuck_after, _BIRTH), 0.0, clock.monotonic()
        self._stuck_after_birth = stuck_after
        self._reader = asyncio.create_task(self._read(), name=f"session process {begin.process}")
        self._words = asyncio.create_task(self._relay(), name=f"log of session process {begin.process}")
        self.tell(begin)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def gone(self) -> bool:
        """Whether it has ended."""
        return self._reader.done()

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._process.returncode

    def is_pairing(self, tenant: str) -> bool:
        """Whether it is linking a device for this tenant, and not yet done."""
        return self.pairs == tenant and not self.leaves and not self.gone

    def tell(self, order: Order) -> None:
        """Give an order. A process that is gone hears nothing, and its supervisor will see that it is."""
        if isinstance(order, Open):
            self.tenants.add(order.tenant)
        elif isinstance(order, Pair):
            self.pairs = order.tenant
        elif isinstance(order, Logout | Reconnect):
            self.calls.add(order.call)
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(line(order))

    async def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        try:
            async for text in self._process.stdout:
                self._silence, self._stuck_after = 0.0, self._stuck_after_birth
                try:
                    self._take(report(text))
                except msgspec.DecodeError:
                    # Never the line itself: nobody knows what the library printed.
                    log.warning("a session process said something odd", extra={"action": "child.odd_report"})
        finally:
            # Of one that has closed its stdout and lives on, nobody would hear any more.
            ending = asyncio.ensure_future(self._process.wait())
            await asyncio.wait([ending], timeout=_PARTING)
            self.kill()
            await asyncio.wait([ending, self._words])
            self._on_report()

    async def _relay(self) -> None:
        """Its log lines go on to our stderr. Of a death of the library the first line is told, and not what each of
        its hundreds of threads was doing: that may hold what no log shall."""
        stderr, dying = self._process.stderr, False
        while stderr is not None and (text := await _next_line(stderr)):
            if dying or text.startswith(_NOISE):
                continue
            if dying := text.startswith(_DEATH):
                words = text.decode(errors="replace").strip()
                log.error("session process %d: %s", self.pid, words, extra={"action": "child.aborted"})
                continue
            with contextlib.suppress(OSError):
                sys.stderr.buffer.write(text)
                sys.stderr.buffer.flush()

    def _take(self, said: Reports) -> None:
        match said:
            case Opening(tenant):
                self.was_useful = True
                self.opening.add(tenant)
            case Opened(tenant):
                self.opening.discard(tenant)
                self.opened.append(tenant)
            case Closed():
                self.closed.append(said)
                self._on_report()
            case Answered():
                self.calls.discard(said.call)
                self.answers.append(said)
                self._on_report()

    def kill_if_stuck(self) -> None:
        """End it at once when it has been silent for too long. To be asked every few seconds."""
        now = self._clock.monotonic()
        self._silence += min(now - self._looked, _STRIDE)
        self._looked = now
        if not self.gone and self._silence > self._stuck_after:
            log.error("session process %d is stuck: killed", self.pid, extra={"action": "child.stuck"})
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        # Not through Popen, which would take the exit status of one that is just gone from asyncio.
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def stop(self, within: float) -> None:
        """Let it end in order; after `within` seconds it is killed."""
        self._signal(signal.SIGTERM)
        _, late = await asyncio.wait([self._reader], timeout=within)
        if late:
            log.error(
                "session process %d did not end in %g s: killed", self.pid, within, extra={"action": "child.late"}
            )
            self.kill()
            await asyncio.wait([self._reader])
