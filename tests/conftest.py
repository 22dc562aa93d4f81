"""What all tests share. A unit test pays for none of it: servers and databases are made when first asked for."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import os
import sys
import time
import uuid
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit
from zoneinfo import ZoneInfo

import aiohttp
import psycopg2
import pytest
from aiohttp.test_utils import teardown_test_loop
from aioresponses import aioresponses

from db.database import Database
from db.embedded import EmbeddedPostgres
from db.migrate import migrate
from db.pool import Pool
from tests.secrets_in_logs import secrets_below

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

pytest_plugins = ["aiohttp.pytest_plugin", "tests.browser", "tests.service.callback_houses"]

DAYS_END = (ZoneInfo("Asia/Jakarta"), UTC)
"""Where the day of tenants ends, and that of PostgreSQL's `current_date`."""

# A test's server has nothing to lose.
FAST = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "32MB"}

PATIENT: dict[str, Any] = {"connect_timeout": 60.0, "statement_timeout": 60.0}
"""How a test opens a Database whose patience is not its subject: a machine may stand still for some seconds."""

PATIENCE: dict[str, Any] = Pool.__init__.__kwdefaults__
"""What a Pool is made with where its maker says nothing else."""


def pytest_configure() -> None:
    """An example of Hypothesis may take as long as the machine stands still. All runs try the same examples: what fails
    somewhere fails everywhere."""
    from hypothesis import HealthCheck, settings  # programs of tests import this module too, and do not need it

    too_slow = [HealthCheck.too_slow]
    settings.register_profile("steady", deadline=None, suppress_health_check=too_slow, derandomize=True, database=None)
    settings.load_profile("steady")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who may take the longest begins first: at the end nobody shall wait for one worker and the longest test."""
    items.sort(key=_allowed, reverse=True)


def _allowed(item: pytest.Item) -> float:
    """Seconds, when it has more than others."""
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker else 0.0


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """A test fails alone: aiohttp's plugin closes the loop that it makes for a test only when the test passes, and of
    what a failed one has left open the next one would be accused."""
    try:
        return (yield)
    except BaseException:
        if inspect.iscoroutinefunction(pyfuncitem.function) and "loop" not in pyfuncitem.funcargs:
            _end(asyncio.get_event_loop_policy().get_event_loop())
        raise


def _end(loop: asyncio.AbstractEventLoop) -> None:
    """Whoever is still at work on it is cancelled, and has ten seconds to close what he has open."""
    if tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(tasks, timeout=10))
    loop.run_until_complete(loop.shutdown_asyncgens())
    teardown_test_loop(loop)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown() -> Generator[None, object, object]:
    """pytest keeps a failure, and with it whatever its frames have open, until the next test begins: it ends here."""
    try:
        return (yield)
    finally:
        if kept := [name for name in vars(sys) if name.startswith("last_")]:
            for name in kept:
                delattr(sys, name)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                gc.collect()


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A PostgreSQL for tests; `url` names a database to administrate from."""

    url: str

    def url_of(self, database: str) -> str:
        """The URL of another database of this server."""
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{database}"))

    def run(self, statement: str) -> None:
        """One statement of administration, outside any transaction."""
        connection = psycopg2.connect(self.url)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()

    @contextlib.contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """The URL of a fresh database, dropped at the end."""
        name = f"gapura_test_{uuid.uuid4().hex}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url_of(name)
        finally:
            self.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(autouse=True)
def no_midnight() -> None:
    """A test that counts by the day must not begin on one and end on the next: in the last minute of a day it waits
    for the other."""
    for zone in DAYS_END:
        now = datetime.now(zone)
        if now.date() != (soon := now + timedelta(minutes=1)).date():
            time.sleep((soon.replace(hour=0, minute=0, second=0, microsecond=0) - now).total_seconds())


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """One server for all tests: that of TEST_DATABASE_URL, else an embedded one."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield PostgresServer(url)
        return
    embedded = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), FAST)
    try:
        yield PostgresServer(embedded.start())
    finally:
        embedded.stop()


@pytest.fixture(scope="session")
def template_database(postgres: PostgresServer) -> Iterator[str]:
    """The name of a database with all migrations applied, to be cloned."""
    with postgres.database() as url:
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(_migrate(url))
        finally:
            loop.close()
        yield urlsplit(url).path.removeprefix("/")


async def _migrate(url: str) -> None:
    db = await Database.open(url, size=1, **PATIENT)
    try:
        await migrate(db)
    finally:
        await db.close()


@pytest.fixture
def database_url(postgres: PostgresServer, template_database: str) -> Iterator[str]:
    """The URL of a fresh, migrated database of this test's own."""
    with postgres.database(template_database) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a fresh database with nothing in it."""
    with postgres.database() as url:
        yield url


@pytest.fixture
def patient_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process no Database gives up a queue, or a server, that stands still for some seconds."""
    monkeypatch.setitem(PATIENCE, "patience", 60.0)
    monkeypatch.setattr("db.database._GRACE", 60.0)


@pytest.fixture
async def db(loop: asyncio.AbstractEventLoop, database_url: str, patient_pools: None) -> AsyncIterator[Database]:
    """A Database on `database_url`. (aiohttp's plugin wants an asynchronous fixture to ask for its `loop`.)"""
    database = await Database.open(database_url, **PATIENT)
    yield database
    await database.close()


@pytest.fixture
def own_postgres(tmp_path: Any) -> Iterator[EmbeddedPostgres]:
    """A started server of this test's own, to be killed and restarted at will."""
    embedded = EmbeddedPostgres(tmp_path, FAST)
    embedded.start()
    yield embedded
    embedded.stop()


@pytest.fixture
def mocked_http(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses]:
    """HTTP answers of the test's choice in place of the network; this machine itself stays reachable.

    aioresponses 0.7.9 builds a ClientResponse without the `stream_writer` that aiohttp wants from 3.14 on.
    """

    class Response(aiohttp.ClientResponse):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.setdefault("stream_writer", SimpleNamespace(output_size=0))
            super().__init__(*args, **kwargs)

    monkeypatch.setattr("aioresponses.core.ClientResponse", Response)
    with aioresponses(passthrough=["http://127.0.0.1", "http://localhost"]) as mocked:
        yield mocked


@pytest.fixture(scope="session", autouse=True)
def no_secret_in_any_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """At the end of the run: no key, QR code or pairing data in any log that any process of any test has written."""
    yield
    found = secrets_below(tmp_path_factory.getbasetemp())
    assert found == [], "secrets in logs"
