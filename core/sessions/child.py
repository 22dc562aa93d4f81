"""A session process as its supervisor sees it: started, told, listened to, ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

import msgspec

from core.sessions.protocol import Answered, Begin, Closed, Open, Opened, Opening, Pair, line, report

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from core.clock import Clock
    from core.sessions.loopback import Loopback
    from core.sessions.protocol import Order, Reports

log = logging.getLogger(__name__)

SILENT = 20.0
"""Seconds of silence after which a session process is taken for stuck and killed."""

_LONGEST_LINE = 1 << 16
_NOISE = b"Press Ctrl+C to exit"
_DEATH = (b"fatal error:", b"panic:", b"runtime:", b"SIG", b"unexpected fault address")


def starter(
    program: Path, database: str, parent: int, clock: Clock, loopback: Loopback | None
) -> Callable[[int, Callable[[], None]], Awaitable[Child]]:
    """What starts a session process, given its number and whom to tell when it has reported something. `program`:
    run.py; `parent`: the number of the gateway."""
    environ = dict(os.environ)
    if loopback is not None:
        # The library reads the environment that its process was started with, and not what Python adds later.
        environ["SSL_CERT_FILE"] = str(loopback.ca_file)
    attach = (loopback.proxy, loopback.root_key) if loopback else None

    async def start(number: int, on_report: Callable[[], None]) -> Child:
        begin = Begin(database, number, parent, attach)
        return await Child.start(program, begin, clock, environ=environ, on_report=on_report)

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
    """Begun with `start`. `tenants` are those it was told to open, without those it has closed since."""

    def __init__(self, process: asyncio.subprocess.Process, begin: Begin, clock: Clock, on_report: Callable[[], None]):
        self.number = begin.process
        self.tenants: set[str] = set()
        self.rested: set[str] = set()
        self.opening: set[str] = set()
        self.pairs: str | None = None
        self.answers: list[Answered] = []
        self._process, self._clock, self._on_report = process, clock, on_report
        self._heard = clock.monotonic()
        self._reader = asyncio.create_task(self._read(), name=f"session process {begin.process}")
        self._words = asyncio.create_task(self._relay(), name=f"log of session process {begin.process}")
        self.tell(begin)

    @classmethod
    async def start(
        cls, program: Path, begin: Begin, clock: Clock, *, environ: Mapping[str, str], on_report: Callable[[], None]
    ) -> Child:
        """A new process. `on_report()` is called when it has told something, or is gone."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(program), "session-process", str(os.getpid()),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
            env=dict(environ), start_new_session=True,  # Ctrl-C is for the supervisor, which ends it in order
        )  # fmt: skip
        return cls(process, begin, clock, on_report)

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

    def tell(self, order: Order) -> None:
        """Give an order. A process that is gone hears nothing, and its supervisor will see that it is."""
        if isinstance(order, Open):
            self.tenants.add(order.tenant)
        elif isinstance(order, Pair):
            self.pairs = order.tenant
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(line(order))

    async def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        try:
            async for text in self._process.stdout:
                self._heard = self._clock.monotonic()
                try:
                    self._take(report(text))
                except msgspec.DecodeError:
                    # Never the line itself: nobody knows what the library printed.
                    log.warning("a session process said something odd", extra={"action": "child.odd_report"})
            await asyncio.wait([self._words])
            await self._process.wait()
        finally:
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
                self.opening.add(tenant)
            case Opened(tenant):
                self.opening.discard(tenant)
            case Closed(tenant, rests):
                self.tenants.discard(tenant)
                if rests:
                    self.rested.add(tenant)
                self._on_report()
            case Answered():
                self.answers.append(said)
                self._on_report()

    def kill_if_stuck(self) -> None:
        """End it at once when it has been silent for too long."""
        if not self.gone and self._clock.monotonic() - self._heard > SILENT:
            log.error("session process %d is stuck: killed", self.pid, extra={"action": "child.stuck"})
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self, within: float) -> None:
        """Let it end in order; after `within` seconds it is killed."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        _, late = await asyncio.wait([self._reader], timeout=within)
        if late:
            log.error(
                "session process %d did not end in %g s: killed", self.pid, within, extra={"action": "child.late"}
            )
            self.kill()
            await asyncio.wait([self._reader])
