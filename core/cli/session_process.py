"""`session-process`: what a gateway starts for itself; nobody types it. Orders come on stdin, reports go to stdout."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import StatementRejected, Unavailable
from core.sessions.protocol import DATABASE_AWAY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from io import FileIO
    from typing import Any

    from core.cli.stopping import StopSignals
    from core.sessions.protocol import Begin
    from core.sessions.surroundings import OnEvent
    from core.sessions.worker import Worker
    from core.transport.whatsapp.client import Client
    from core.transport.whatsapp.gate import ConnectGate

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_SESSIONS = 200
"""What a process may hold at most (service.yaml, sessions.per_process); threads are made when they are needed."""

_LAST_WORDS = 6.0
"""Seconds to end in order; the supervisor kills a little later."""

_LOOK_EVERY = 0.5
_ORPHAN_LIVES = 8.0
"""Seconds for which a process lives at most whose gateway is gone, and nobody would kill it."""


def session_process(parent: Annotated[int, typer.Argument(help="Process id of the gateway.")]) -> None:
    """Hold WhatsApp sessions for a gateway, which starts this by itself."""
    from core.cli.stopping import StopSignals

    with StopSignals.caught() as signals:
        # A gateway that is killed leaves this process the time to end in order. The end of stdin tells it too.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:
            raise typer.Exit(1)
        threading.Thread(target=_end_with, args=(parent,), name="end with the gateway", daemon=True).start()
        status = 1
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(_run(signals))
            status = 0
        except Unavailable as error:
            status = DATABASE_AWAY
            log.error("the session process ends: %s", error, extra={"action": "worker.database_away"})
        except Exception:
            log.exception("the session process failed", extra={"action": "worker.failed"})
        # Not asyncio.run, and not an ordinary end: a client that was never linked keeps a thread of the library for
        # ever, which both would wait for.
        logging.shutdown()
        os._exit(status)


def _end_with(gateway: int) -> None:
    """Once the gateway is gone, end soon, in order or not."""
    never = threading.Event()
    while os.getppid() == gateway:
        never.wait(_LOOK_EVERY)
    # What is written to a pipe that nobody reads would end the library with SIGPIPE.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    never.wait(_ORPHAN_LIVES)
    os._exit(1)


async def _run(signals: StopSignals) -> None:
    from core.sessions.protocol import Begin, order
    from core.transport.whatsapp.process import capture_stdout

    stop = signals.event()
    reports = os.fdopen(capture_stdout(), "wb", buffering=0)
    orders = await _stdin()
    begin = order(await orders.readline())
    if not isinstance(begin, Begin):
        raise TypeError("a session process begins with Begin")
    stopped = asyncio.create_task(stop.wait())
    holding = asyncio.create_task(_hold(begin, reports, orders, stopped))
    await asyncio.wait({stopped, holding}, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait({holding}, timeout=_LAST_WORDS)
    if holding.done():
        holding.result()


async def _hold(begin: Begin, reports: FileIO, orders: asyncio.StreamReader, stopped: asyncio.Task[Any]) -> None:
    """Hold sessions until told to stop, or until there is nothing more to do, or something has failed. Raises what."""
    async with _worker(begin, reports) as (worker, side_tasks):
        tasks = [asyncio.create_task(work) for work in side_tasks]
        obeying = asyncio.create_task(_obey(worker, orders))
        ended = asyncio.create_task(worker.ended.wait())
        await asyncio.wait([stopped, ended, obeying, *tasks], return_when=asyncio.FIRST_COMPLETED)
        obeying.cancel()
        with contextlib.suppress(TimeoutError, Unavailable, StatementRejected):
            async with asyncio.timeout(_LAST_WORDS):
                await worker.close()
        for task in (obeying, *tasks):
            if task.done() and not task.cancelled():
                task.result()


async def _stdin() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


@contextlib.asynccontextmanager
async def _worker(begin: Begin, reports: FileIO) -> AsyncIterator[tuple[Worker, list[Coroutine[Any, Any, None]]]]:
    """With its database, its listener and its side tasks, none of which ever ends. Raises DatabaseUnavailable."""
    from core.channels import FORGOTTEN, OUTBOX
    from core.clock import Clock
    from core.sessions.logins import Logins
    from core.sessions.protocol import line
    from core.sessions.worker import Worker
    from core.transport.whatsapp.database import STORE_VERSION, make_tables
    from core.transport.whatsapp.gate import ConnectGate
    from db.database import Database
    from db.listen import Listener
    from db.login_store import LoginStore
    from db.session_store import SessionStore
    from db.store import Store

    gate = ConnectGate()
    database = await Database.open(begin.database, size=4)
    await database.fill()
    worker = Worker(
        Store(database),
        SessionStore(database),
        Clock(),
        begin,
        Logins(LoginStore(database), STORE_VERSION, lambda: make_tables(begin.database, gate)),
        connect=_connector(begin, gate),
        report=lambda report: _tell(reports, line(report)),
        is_listening=lambda: listener.connected,
    )
    listener = Listener(
        begin.database,
        {OUTBOX: worker.sender.wake, FORGOTTEN: worker.forgotten},
        on_connected=worker.database_back,
        on_lost=worker.database_lost,
        session_sql=[("SELECT pg_advisory_lock(process_class(), %s)", (begin.process,))],
        application_name="gapura-session-listener",
    )
    try:
        yield worker, [listener.run(), worker.show_life(), worker.renew_leases(), worker.sender.run()]
    finally:
        await database.close()


async def _obey(worker: Worker, orders: asyncio.StreamReader) -> None:
    """Until the supervisor has no more to say, because it is gone."""
    from core.sessions.protocol import order

    await worker.begun()
    async for text in orders:
        worker.obey(order(text))


def _tell(reports: FileIO, text: bytes) -> None:
    with contextlib.suppress(OSError):  # a supervisor that is gone; the end of stdin tells it too
        reports.write(text)


def _connector(begin: Begin, gate: ConnectGate) -> Callable[[str, str | None, int, OnEvent], Client]:
    """Makes clients; the library is loaded here and nowhere else."""
    from core.transport.whatsapp.client import Client
    from core.transport.whatsapp.database import library_dsn
    from core.transport.whatsapp.process import attach, prepare_process

    prepare_process(_SESSIONS)
    proxy = None
    if begin.sandbox is not None:
        proxy, root_key = begin.sandbox
        attach(bytes.fromhex(root_key))

    def connect(tenant: str, device: str | None, fence: int, on_event: OnEvent) -> Client:
        dsn = library_dsn(begin.database, tenant, fence, idle=begin.keep_connections)
        return Client(tenant=tenant, dsn=dsn, device=device, gate=gate, on_event=on_event, proxy=proxy)

    return connect
