"""`worker`: session processes on another machine, for gateways with the same database."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli.invocation import invocation_of
from core.cli.output import say
from core.cli.serve import attached
from core.errors import CommandError

if TYPE_CHECKING:
    from core.cli.stopping import StopSignals
    from core.sessions.supervisor import Supervisor
    from core.settings import Settings
    from db.listen import Listener

log = logging.getLogger(__name__)

_LOOK = 0.02
_END_WITHIN = 8.0
"""Seconds for session processes to end in order."""

_NO_DATABASE = (
    "a worker holds sessions for the gateways of one database: name it with DATABASE_URL, or database.url in"
    " service.yaml. (The embedded PostgreSQL is its gateway's own, and answers on no other machine.)"
)


def worker(
    context: typer.Context,
    sandbox: Annotated[
        str | None,
        typer.Option(
            help="Speak to this WhatsApp on loopback (run.py sandbox) and not to the real one.", metavar="URL"
        ),
    ] = None,
) -> None:
    """Hold a share of the WhatsApp sessions until SIGTERM or Ctrl-C, beside the gateways of the same database.

    It answers no HTTP and runs no plugin. It wants the gateways' DATABASE_URL and configuration, and a GAPURA_DATA of
    its own. Prints `gapura worker ready` on stdout when it takes sessions; logs go to stderr.
    """
    from core.cli.stopping import StopSignals

    with StopSignals.caught() as signals:
        settings = invocation_of(context).settings()
        if settings.database.url is None:
            raise CommandError(_NO_DATABASE)
        asyncio.run(_work(settings, settings.database.url, sandbox, signals))


async def _work(settings: Settings, url: str, sandbox: str | None, signals: StopSignals) -> None:
    from core.clock import Clock
    from core.sessions.founding import new_number, new_supervisor
    from db.database import Database
    from db.migrate import migrate
    from db.session_store import SessionStore

    stop, clock, process = signals.event(), Clock(), new_number()
    async with attached(sandbox) as loopback:
        database = await Database.open(url)
        try:
            await migrate(database)
            store = SessionStore(database)
            supervisor = new_supervisor(store, clock, settings, loopback, url=url, process=process)
            await _hold(supervisor, _listener(url, supervisor, process), stop)
        finally:
            await database.close()


def _listener(url: str, supervisor: Supervisor, process: int) -> Listener:
    from core import channels
    from core.sessions.founding import signs_of_life
    from db.listen import Listener

    async def listening() -> None:
        supervisor.wake()

    return Listener(
        url,
        {
            channels.COMMANDS: lambda _: supervisor.wake(),
            channels.SESSIONS: lambda _: supervisor.wake(),
            channels.FORGOTTEN: supervisor.forgotten,
        },
        on_connected=listening,
        session_sql=signs_of_life(process),
    )


async def _hold(supervisor: Supervisor, listener: Listener, stop: asyncio.Event) -> None:
    """Until `stop`; then everything is handed over. Ends with the error of what failed."""
    stopped = asyncio.create_task(stop.wait())
    listening = asyncio.create_task(listener.run())
    tasks: list[asyncio.Task[Any]] = [stopped, listening]
    try:
        while not listener.connected and not any(task.done() for task in tasks):
            await asyncio.wait(tasks, timeout=_LOOK)
        if not any(task.done() for task in tasks):
            tasks.append(asyncio.create_task(supervisor.run()))
            say("gapura worker ready")
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        log.info("stopping", extra={"action": "worker.stopping"})
        await supervisor.close(_END_WITHIN)
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end
