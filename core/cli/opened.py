"""The database for a command: the server that is configured, or the embedded one, stopped again by who started it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from core.app import Gateway
    from core.cli.invocation import Invocation
    from core.settings import Settings
    from db.database import Database
    from db.embedded import EmbeddedPostgres
    from db.store import Store

T = TypeVar("T")


@contextlib.contextmanager
def postgres(settings: Settings, data: Path) -> Iterator[tuple[str, EmbeddedPostgres | None]]:
    """(URL, the embedded server if it is that). Raises CommandError."""
    if settings.database.url is not None:
        yield settings.database.url, None
        return
    from db.embedded import EmbeddedPostgres

    embedded = EmbeddedPostgres(data)
    try:
        yield embedded.start(), embedded
    finally:
        embedded.stop()


def with_store(invocation: Invocation, work: Callable[[Store], Awaitable[T]]) -> T:
    """What `work` returns, given the store of an up-to-date database. Raises GapuraError."""
    from db.store import Store

    return with_database(invocation, lambda database: work(Store(database)))


def with_database(invocation: Invocation, work: Callable[[Database], Awaitable[T]]) -> T:
    """What `work` returns, given an up-to-date database. Raises GapuraError."""
    with postgres(invocation.settings(), invocation.data) as (url, embedded):
        return asyncio.run(_on_database(url, embedded, work))


def with_gateway(invocation: Invocation, work: Callable[[Gateway], Awaitable[T]]) -> T:
    """What `work` returns, given a gateway that serves nobody. Raises GapuraError."""
    from core.app import Gateway

    async def run(url: str, embedded: EmbeddedPostgres | None) -> T:
        async with supervised(embedded), Gateway.open(settings, plugins, url) as gateway:
            return await work(gateway)

    settings, plugins = invocation.settings_and_plugins()
    with postgres(settings, invocation.data) as (url, embedded):
        return asyncio.run(run(url, embedded))


async def _on_database(url: str, embedded: EmbeddedPostgres | None, work: Callable[[Database], Awaitable[T]]) -> T:
    from db.database import Database
    from db.migrate import migrate

    async with supervised(embedded):
        database = await Database.open(url)
        try:
            await migrate(database)
            return await work(database)
        finally:
            await database.close()


@contextlib.asynccontextmanager
async def supervised(embedded: EmbeddedPostgres | None) -> AsyncIterator[None]:
    """While inside, the embedded server is brought back when it dies, also when its owner was another process."""
    task = asyncio.create_task(embedded.supervise()) if embedded else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
