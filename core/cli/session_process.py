"""`session-process`: what a gateway starts for itself; nobody types it. Orders come on stdin, reports go to stdout."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import typer

from core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from io import FileIO

    from core.cli.stopping import StopSignals
    from core.sessions.protocol import Begin
    from core.sessions.session import OnEvent
    from core.sessions.worker import Worker
    from core.transport.whatsapp.client import Client

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_SESSIONS = 200
"""What a process may hold at most (service.yaml, sessions.per_process); threads are made when they are needed."""

_LAST_WORDS = 6.0
"""Seconds to end in order; the supervisor kills a little later."""


def session_process(parent: Annotated[int, typer.Argument(help="Process id of the gateway.")]) -> None:
    """Hold WhatsApp sessions for a gateway, which starts this by itself."""
    from core.cli.stopping import StopSignals

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        raise typer.Exit(1)
    with StopSignals.caught() as signals:
        status = 1
        try:
            asyncio.run(_run(signals))
            status = 0
        except Exception:
            log.exception("the session process failed", extra={"action": "worker.failed"})
        # A client that never paired keeps a thread of the library for ever, which an ordinary end would wait for.
        logging.shutdown()
        os._exit(status)


async def _run(signals: StopSignals) -> None:
    from core.sessions.protocol import Begin, order
    from core.transport.whatsapp.process import capture_stdout

    stop = signals.event()
    reports = os.fdopen(capture_stdout(), "wb", buffering=0)
    orders = await _stdin()
    begin = order(await orders.readline())
    if not isinstance(begin, Begin):
        raise TypeError("a session process begins with Begin")
    async with _worker(begin, reports) as worker:
        obeying = asyncio.create_task(_obey(worker, orders))
        ends = [asyncio.create_task(event.wait()) for event in (stop, worker.ended)]
        await asyncio.wait([obeying, *ends], return_when=asyncio.FIRST_COMPLETED)
        obeying.cancel()
        with contextlib.suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(_LAST_WORDS):
                await worker.close()


async def _stdin() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def _obey(worker: Worker, orders: asyncio.StreamReader) -> None:
    """Until the supervisor has no more to say, because it is gone."""
    from core.sessions.protocol import order

    async for text in orders:
        worker.obey(order(text))


@contextlib.asynccontextmanager
async def _worker(begin: Begin, reports: FileIO) -> AsyncIterator[Worker]:
    """With its database, its listener and its side tasks."""
    from core.app import OUTBOX
    from core.clock import Clock
    from core.sessions.protocol import line
    from core.sessions.worker import Worker
    from db.database import Database
    from db.listen import Listener
    from db.session_store import SessionStore
    from db.store import Store

    database, clock = await Database.open(begin.database, size=4), Clock()
    worker = Worker(
        Store(database),
        SessionStore(database),
        clock,
        begin,
        connect=_connector(begin),
        report=lambda report: _tell(reports, line(report)),
        is_listening=lambda: listener.connected,
    )
    listener = Listener(
        begin.database,
        {OUTBOX: worker.sender.wake},
        on_connected=worker.database_back,
        on_lost=worker.database_lost,
        session_sql=[("SELECT pg_advisory_lock(process_class(), %s)", (begin.process,))],
        application_name="gapura-session-listener",
    )
    side_tasks = [listener.run(), worker.show_life(), worker.renew_leases(), worker.sender.run()]
    tasks = [asyncio.create_task(work) for work in side_tasks]
    try:
        while not listener.connected:
            await clock.sleep(0.01)
        yield worker
    finally:
        for task in tasks:
            task.cancel()
        await database.close()


def _tell(reports: FileIO, text: bytes) -> None:
    with contextlib.suppress(OSError):  # a supervisor that is gone; the end of stdin tells it too
        reports.write(text)


def _connector(begin: Begin) -> Callable[[str, str | None, OnEvent], Client]:
    """Makes clients; the library is loaded here and nowhere else."""
    from core.transport.whatsapp.client import Client
    from core.transport.whatsapp.gate import ConnectGate
    from core.transport.whatsapp.process import attach, prepare_process

    prepare_process(_SESSIONS)
    proxy = None
    if begin.sandbox is not None:
        proxy, root_key = begin.sandbox
        attach(bytes.fromhex(root_key))
    gate, dsn = ConnectGate(), _for_library(begin.database)

    def connect(tenant: str, device: str | None, on_event: OnEvent) -> Client:
        return Client(tenant=tenant, dsn=dsn, device=device, gate=gate, on_event=on_event, proxy=proxy)

    return connect


def _for_library(url: str) -> str:
    """The library's driver insists on TLS where ours takes what there is: on this machine it need not."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    if parts.hostname in (None, "localhost", "127.0.0.1", "::1"):
        options.setdefault("sslmode", "disable")
    options.setdefault("application_name", "gapura-whatsapp")
    return urlunsplit(parts._replace(query=urlencode(options)))
