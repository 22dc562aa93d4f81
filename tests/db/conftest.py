"""Databases with settings of the test's choice, and a hand on the server behind their backs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg2
import pytest

from db.database import Database
from tests.conftest import PATIENT

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tests.conftest import PostgresServer


@dataclass(frozen=True, slots=True)
class Administrator:
    """Somebody else with a connection to the same database."""

    url: str

    def rows(self, sql: str, params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Run one statement on a connection of its own."""
        connection = psycopg2.connect(self.url)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql, params)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def sessions(self, application_name: str) -> list[int]:
        """The process ids of the server's sessions under that name."""
        found = self.rows(
            "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()",
            (application_name,),
        )
        return [pid for (pid,) in found]

    def running(self, fragment: str) -> list[int]:
        """The sessions in the middle of a statement that contains `fragment`."""
        found = self.rows(
            "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE %s AND pid <> pg_backend_pid()"
            " AND datname = current_database()",
            (f"%{fragment}%",),
        )
        return [pid for (pid,) in found]

    def terminate(self, pid: int) -> None:
        """Kill a session, as an operator or a dying server would."""
        self.rows("SELECT pg_terminate_backend(%s, 10000)", (pid,))


@pytest.fixture
async def open_database(
    loop: asyncio.AbstractEventLoop, empty_database_url: str, patient_pools: None
) -> AsyncIterator[Callable[..., Awaitable[Database]]]:
    """Opens Databases, by default on an empty database of this test's own, and closes them at the end."""
    opened: list[Database] = []

    async def open_one(url: str = empty_database_url, **settings: Any) -> Database:
        opened.append(await Database.open(url, **{**PATIENT, **settings}))
        return opened[-1]

    yield open_one
    for database in opened:
        await database.close()


@pytest.fixture
def administrator(empty_database_url: str) -> Administrator:
    """An Administrator of the same empty database."""
    return Administrator(empty_database_url)


@pytest.fixture(scope="session")
def library_template(postgres: PostgresServer, template_database: str) -> Iterator[str]:
    """A migrated database in which the real neonize has made its tables, to be cloned."""
    with postgres.database(template_database) as url:
        program = Path(__file__).with_name("whatsmeow_tables.py")
        subprocess.run([sys.executable, str(program), url], check=True, timeout=120)
        yield urlsplit(url).path.removeprefix("/")
