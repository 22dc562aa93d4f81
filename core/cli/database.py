"""`db migrate`, `db url` and `db cleanup`."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import asdict
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import typer

from core.cli.invocation import Invocation, invocation_of
from core.cli.output import note, say, say_json
from core.cli.tenant import AsJson  # noqa: TC001 - typer reads the annotations
from core.errors import CommandError

if TYPE_CHECKING:
    from core.paths.forgetting import Forgotten
    from core.settings import Settings
    from db.database import Database
    from db.embedded import EmbeddedPostgres

commands = typer.Typer(no_args_is_help=True, help="The PostgreSQL database.")


@commands.command()
def migrate(context: typer.Context, as_json: AsJson = False) -> None:
    """Bring the schema up to date. `serve` does so by itself."""
    from core.cli.opened import postgres

    invocation = invocation_of(context)
    with postgres(invocation.settings(), invocation.data) as (url, embedded):
        applied = asyncio.run(_migrate(url, embedded))
    if as_json:
        say_json({"applied": applied})
    else:
        say("\n".join(f"applied {name}" for name in applied) or "The schema is up to date.")


async def _migrate(url: str, embedded: EmbeddedPostgres | None) -> list[str]:
    from core.cli.opened import supervised
    from db.database import Database
    from db.migrate import migrate

    async with supervised(embedded):
        database = await Database.open(url)
        try:
            return await migrate(database)
        finally:
            await database.close()


@commands.command()
def cleanup(context: typer.Context, as_json: AsJson = False) -> None:
    """Delete counters of past days (`keep_daily_limits`), events and callbacks (`keep_events`), messages
    (`keep_messages`) and idempotency keys.

    `serve` does so every hour.
    """
    from core.cli.opened import with_database

    invocation = invocation_of(context)
    settings = invocation.settings()
    gone = with_database(invocation, lambda database: _forget(database, settings))
    if as_json:
        say_json(asdict(gone) | _keeps(settings))
    else:
        say(f"deleted {gone.daily_limits} counters of days more than {settings.keep_daily_limits} days ago")
        say(f"deleted {gone.events} events and {gone.callbacks} callbacks of more than {settings.keep_events} days ago")
        days = settings.keep_messages
        say(f"deleted {gone.messages} messages and {gone.incoming} incoming ones of more than {days} days ago")


async def _forget(database: Database, settings: Settings) -> Forgotten:
    from core.paths.forgetting import Forgetting
    from db.callback_store import CallbackStore
    from db.event_store import EventStore
    from db.store import Store

    forgetting = Forgetting(Store(database), EventStore(database), CallbackStore(database), **_keeps(settings))
    return await forgetting.run()


def _keeps(settings: Settings) -> dict[str, int]:
    return {
        "keep_daily_limits": settings.keep_daily_limits,
        "keep_events": settings.keep_events,
        "keep_messages": settings.keep_messages,
    }


@commands.command()
def url(context: typer.Context) -> None:
    """Print the connection URL, with its password: psql "$(python run.py db url)"."""
    invocation = invocation_of(context)
    own = invocation.settings().database.url
    found = own or _embedded_url(invocation)
    say(found)
    if not _answers(found):
        where = "." if own else "; the embedded one runs while `run.py serve` does."
        note(f"PostgreSQL does not run there now{where}")


def _embedded_url(invocation: Invocation) -> str:
    from db.embedded import EmbeddedPostgres

    found = EmbeddedPostgres(invocation.data).url
    if found is None:
        raise CommandError(f"there is no database in {invocation.data} yet; `run.py serve` or `db migrate` makes it")
    return found


def _answers(found: str) -> bool:
    """Whether somebody listens there; a socket in the file system is taken to do so."""
    parts = urlsplit(found)
    try:
        if parts.hostname:
            socket.create_connection((parts.hostname, parts.port or 5432), timeout=2).close()
    except OSError:
        return False
    return True
