"""Migrations: each once, in order, whoever calls and however many."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from core.errors import CommandError, StatementRejected
from db.migrate import check_server_version, migrate, pending, read_migrations

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from db.database import Database

    Open = Callable[..., Awaitable[Database]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two migrations; the second fails when it runs before the first, or twice."""
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first (n int); INSERT INTO first VALUES (1)")
    (tmp_path / "0002_second.sql").write_text("-- 100 %\nALTER TABLE first ADD COLUMN word text")
    return tmp_path


async def test_an_empty_database_is_brought_up_to_date_once(open_database: Open, folder: Path) -> None:
    """pending foretells what migrate applies; a second migrate applies nothing."""
    db = await open_database()
    assert await pending(db, folder) == ["0001_first", "0002_second"]
    assert await db.fetch_one("SELECT to_regclass('gapura_migrations')") == (None,)
    assert await migrate(db, folder) == ["0001_first", "0002_second"]
    assert await pending(db, folder) == await migrate(db, folder) == []
    rows = await db.fetch("SELECT version, name, applied_at <= now() FROM gapura_migrations ORDER BY 1")
    assert rows == [(1, "0001_first", True), (2, "0002_second", True)]
    assert await db.fetch("SELECT n, word FROM first") == [(1, None)]


async def test_many_processes_at_once(open_database: Open, folder: Path) -> None:
    """Each migration is applied by exactly one of those who call at once; nobody fails."""
    databases = [await open_database(size=1, statement_timeout=2.0) for _ in range(4)]
    (folder / "0003_slow.sql").write_text("SELECT pg_sleep(2.5)")
    applied = await asyncio.gather(*(migrate(db, folder) for db in databases))
    assert sorted(name for names in applied for name in names) == ["0001_first", "0002_second", "0003_slow"]
    assert await databases[0].fetch("SELECT n FROM first") == [(1,)]


async def test_a_migration_that_fails_leaves_nothing_of_itself(open_database: Open, folder: Path) -> None:
    """A failing file is undone as a whole, those before it stay, and the repaired file is applied next time."""
    db = await open_database()
    broken = folder / "0003_broken.sql"
    broken.write_text("CREATE TABLE third (); SELECT nonsense")
    with pytest.raises(StatementRejected):
        await migrate(db, folder)
    assert await db.fetch_one("SELECT to_regclass('first')::text, to_regclass('third')") == ("first", None)
    broken.write_text("CREATE TABLE third ()")
    assert await migrate(db, folder) == ["0003_broken"]


async def test_a_database_newer_than_the_checkout_is_refused(open_database: Open, folder: Path) -> None:
    """Neither migrate nor pending touches a database of a later checkout; the error says what to do."""
    db = await open_database()
    await migrate(db, folder)
    (folder / "0002_second.sql").unlink()
    for act in (migrate, pending):
        with pytest.raises(CommandError, match="update the checkout"):
            await act(db, folder)


@pytest.mark.parametrize("name", ["1_short.sql", "0001-dash.sql", "0002_again.sql"])
def test_a_file_with_a_wrong_name_is_refused(folder: Path, name: str) -> None:
    """A migration that would be skipped, or applied in nobody knows which order, is an error."""
    (folder / name).write_text("")
    with pytest.raises(CommandError, match="NNNN_name"):
        read_migrations(folder)


def test_an_old_server_is_refused() -> None:
    """PostgreSQL 14 is too old and 15 is not."""
    with pytest.raises(CommandError, match=r"15 or newer.*PostgreSQL 14\.9"):
        check_server_version(140009, "PostgreSQL 14.9 on x86_64")
    check_server_version(150000, "PostgreSQL 15.0 on x86_64")


async def test_the_checkouts_own_migrations(open_database: Open) -> None:
    """All of db/migrations applies to an empty database, numbered without a gap."""
    files = read_migrations()
    assert [file.version for file in files] == list(range(1, len(files) + 1))
    assert await migrate(await open_database()) == [file.name for file in files]
