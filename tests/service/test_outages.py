"""PostgreSQL goes away under load: honest answers meanwhile, and everything goes on by itself."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.service.gateway_process import PATIENCE, Installation
from tests.service.load import Load, check_books, rows

if TYPE_CHECKING:
    from pathlib import Path

    from db.embedded import EmbeddedPostgres

pytestmark = pytest.mark.timeout(600)

EVERYBODY_ELSE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
PLUGINS = "{api_key: {}, whitelist: {}, daily_limit: {limit: 1000000}, delay: {min: 0, max: 0}}"


async def test_a_restart_of_postgresql_under_load_loses_and_doubles_nothing(
    own_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """Two gateways: 503 with Retry-After meanwhile, then both go on by themselves; every 202 has its row, every row its
    202 or its expiry."""
    url = own_postgres.url
    assert url is not None
    installation = Installation(tmp_path / "home", url)
    key = installation.add_tenant("shop", plugins=PLUGINS)
    with ExitStack() as stack:
        gateways = [stack.enter_context(installation.serve()) for _ in range(2)]
        async with Load([g.url for g in gateways], key).running() as load:
            for _ in range(3):
                await load.until_accepted(100)
                await asyncio.to_thread(own_postgres.stop)
                await load.until_status(503)
                own_postgres.start()
            await load.until_accepted(200)
        assert load.statuses.keys() == {202, 503}
        assert (load.without_retry_after, load.unanswered) == (0, 0)
    check_books(url, load)


async def test_kill_9_of_the_embedded_postgresql_under_load(tmp_path: Path) -> None:
    """The gateway brings its own PostgreSQL back; fsync is on, and nothing that was accepted is lost."""
    installation = Installation(tmp_path)
    key = installation.add_tenant("shop", plugins=PLUGINS)
    with installation.serve() as gateway, installation.serve() as second:
        url = installation.run("db", "url").stdout.strip()
        async with Load([gateway.url, second.url], key).running() as load:
            for strike in (1, 2):
                await load.until_accepted(50)
                pid = int((tmp_path / "var" / "pg18" / "cluster" / "postmaster.pid").read_text().split()[0])
                os.kill(pid, signal.SIGKILL)
                async with asyncio.timeout(PATIENCE):
                    while gateway.stderr.count("PostgreSQL is back") < strike:
                        await asyncio.sleep(0.05)
            await load.until_accepted(100)
        # It may be back within the patience of everybody who was being served: then nobody hears a 503.
        assert load.statuses.keys() <= {202, 503}
        assert (load.without_retry_after, load.unanswered) == (0, 0)
        check_books(url, load)


async def test_connections_killed_in_the_middle_of_batches(database_url: str, tmp_path: Path) -> None:
    """Whoever was answered 202 has one row, and nobody has two; counters equal rows."""
    installation = Installation(tmp_path, database_url)
    key = installation.add_tenant("shop", plugins=PLUGINS)
    with installation.serve() as gateway:
        async with Load([gateway.url], key).running() as load:
            for _ in range(30):
                await load.until_accepted(5)
                await asyncio.to_thread(rows, database_url, EVERYBODY_ELSE)
            await load.until_accepted(50)
        assert load.statuses.keys() <= {202, 503}
    check_books(database_url, load)
    texts = "SELECT count(*) - count(DISTINCT content) FROM messages WHERE status <> 'expired'"
    assert rows(database_url, texts) == [(0,)]


async def test_kill_9_of_a_gateway_under_load(database_url: str, tmp_path: Path) -> None:
    """Every 202 has its row; what was in flight is named `unknown` by the next start, and the rest is sent."""
    installation = Installation(tmp_path, database_url)
    key = installation.add_tenant("shop", plugins=PLUGINS)
    gateway = installation.serve()
    async with Load([gateway.url], key).running() as load:
        await load.until_accepted(100)
        gateway.kill()
    with installation.serve():
        waiting = "SELECT count(*) FROM messages WHERE status IN ('queued', 'sending')"
        async with asyncio.timeout(60):
            while rows(database_url, waiting) != [(0,)]:
                await asyncio.sleep(0.05)
    stored = {i for (i,) in rows(database_url, "SELECT id::text FROM messages WHERE status IN ('sent', 'unknown')")}
    assert load.accepted <= stored
    # A tenant has one message in flight at a time, so one kill leaves at most one in doubt.
    assert rows(database_url, "SELECT count(*) <= 1 FROM messages WHERE status = 'unknown'") == [(True,)]


async def test_a_postgresql_that_cannot_write_is_away_and_not_broken(database_url: str, tmp_path: Path) -> None:
    """Read-only after a fail-over: 503 with Retry-After, the gateway lives, and goes on when it may write again."""
    installation = Installation(tmp_path, database_url)
    key = installation.add_tenant("shop", plugins=PLUGINS)
    name = urlsplit(database_url).path[1:]
    with installation.serve() as gateway:
        async with Load([gateway.url], key).running(2) as load:
            await load.until_accepted(10)
            rows(database_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            rows(database_url, EVERYBODY_ELSE)
            await load.until_status(503)
            writing = f"{database_url}&options=-c%20default_transaction_read_only%3Doff"
            rows(writing, f"ALTER DATABASE {name} RESET ALL")
            rows(database_url, EVERYBODY_ELSE)
            await load.until_accepted(10)
        assert load.statuses.keys() == {202, 503}
    check_books(database_url, load)
