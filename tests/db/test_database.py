"""Database: what comes back, which error says what, and every known way to lose a connection."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import uuid
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from aiopg.connection import Connection as AiopgConnection

from core.errors import CommandError, DatabaseUnavailable, StatementRejected, StatementTimeout
from db.connection import Connection
from tests.conftest import PATIENCE
from tests.db.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from db.database import Database
    from db.embedded import EmbeddedPostgres
    from tests.db.conftest import Administrator

    Open = Callable[..., Awaitable[Database]]


LONG = 600
"""Seconds of a statement that the test, and not the clock, shall end; and of the time that it is given."""

SHORT = 2.0
"""Seconds after which PostgreSQL ends a statement; no other one, of a millisecond, takes as long."""


async def answers(db: Database) -> None:
    """Return when a ping is answered in its time."""
    async with asyncio.timeout(60):
        while not await db.ping():
            await asyncio.sleep(0.01)


async def backend(db: Database) -> int:
    """The server process behind the connection that a pool of one has."""
    return (await db.fetch("SELECT pg_backend_pid()"))[0][0]


# -- values -----------------------------------------------------------------------------------------------------------


async def test_values_arrive_as_python_objects(open_database: Open) -> None:
    """Rows are tuples; jsonb is an object, timestamptz aware UTC, bytea bytes, uuid UUID."""
    db = await open_database()
    some_uuid = uuid.uuid4()
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    rows = await db.fetch(
        """SELECT 1, 'Ü', '{"a": [1]}'::jsonb, %s::timestamptz, '2026-03-01'::date, %s::bytea, %s, ARRAY['x', 'y']""",
        (moment, b"\x00\xff", some_uuid),
    )
    assert rows == [(1, "Ü", {"a": [1]}, moment, date(2026, 3, 1), b"\x00\xff", some_uuid, ["x", "y"])]
    assert rows[0][3].utcoffset() is not None and type(rows[0]) is tuple and type(rows[0][5]) is bytes


async def test_times_are_utc_whatever_the_server_thinks(open_database: Open, administrator: Administrator) -> None:
    """A database with another default time zone still gives UTC."""
    (name,) = administrator.rows("SELECT current_database()")[0]
    administrator.rows(f"ALTER DATABASE {name} SET TimeZone = 'Asia/Jakarta'")
    db = await open_database()
    assert await db.fetch_one("SHOW TimeZone") == ("UTC",)


async def test_nothing_is_compiled_whatever_the_server_thinks(
    open_database: Open, administrator: Administrator
) -> None:
    """Where PostgreSQL compiles dear plans (its own default), ours are not: before version 18 a plan that must not
    scan a table looks dear, and compiling it took half a second for every batch of sends."""
    (name,) = administrator.rows("SELECT current_database()")[0]
    administrator.rows(f"ALTER DATABASE {name} SET jit = on")
    db = await open_database()
    assert await db.fetch_one("SHOW jit") == ("off",)


async def test_counts_and_single_rows(open_database: Open) -> None:
    """execute gives the number of rows affected, fetch_one the first row or None."""
    db = await open_database()
    assert await db.execute("CREATE TABLE t (n int)") == 0
    assert await db.execute("INSERT INTO t SELECT generate_series(1, 3)") == 3
    assert await db.fetch_one("SELECT n FROM t ORDER BY n") == (1,)
    assert await db.fetch_one("SELECT n FROM t WHERE n > 3") is None
    assert await db.fetch("UPDATE t SET n = n") == []


async def test_percent_signs(open_database: Open) -> None:
    """Without params SQL is sent as it stands; with params %% is one percent; a mapping fills names."""
    db = await open_database()
    assert await db.fetch_one("SELECT 'a' LIKE '%a'") == (True,)
    assert await db.fetch_one("SELECT 'a' LIKE '%%a', %s", (1,)) == (True, 1)
    assert await db.fetch_one("SELECT %(n)s + %(n)s", {"n": 2}) == (4,)


# -- statements that fail ---------------------------------------------------------------------------------------------


async def test_a_rejected_statement_names_its_sqlstate_and_quotes_no_row(open_database: Open) -> None:
    """A violated constraint is StatementRejected 23505, without the row's values, and the connection lives on."""
    db = await open_database(size=1)
    await db.execute("CREATE TABLE t (words text UNIQUE)")
    await db.execute("INSERT INTO t VALUES ('private words')")
    pid = await backend(db)
    with pytest.raises(StatementRejected) as caught:
        await db.execute("INSERT INTO t VALUES ('private words')")
    assert caught.value.sqlstate == "23505"
    assert "private" not in str(caught.value)
    assert await backend(db) == pid


@pytest.mark.parametrize("text", ["nul \x00", "surrogate \ud800"])
async def test_text_that_postgresql_cannot_hold_is_rejected(open_database: Open, text: str) -> None:
    """NUL and lone surrogates are StatementRejected 22021, and the connection lives on."""
    db = await open_database(size=1)
    with pytest.raises(StatementRejected) as caught:
        await db.fetch("SELECT %s", (text,))
    assert caught.value.sqlstate == "22021"
    assert await db.fetch("SELECT 1") == [(1,)]


async def test_a_server_side_timeout_is_not_a_cancellation(open_database: Open) -> None:
    """statement_timeout is StatementTimeout; nobody was cancelled, and the connection lives on."""
    db = await open_database(size=1, statement_timeout=SHORT)
    pid = await backend(db)
    with pytest.raises(StatementTimeout):
        await db.fetch("SELECT pg_sleep(60)")
    assert await backend(db) == pid


async def test_a_server_side_timeout_in_a_cancelled_task_is_still_a_timeout(open_database: Open) -> None:
    """A statement that a cancelled task runs to clean up, and that times out, is StatementTimeout and no new cancel."""
    db = await open_database(statement_timeout=SHORT)
    outcome: list[BaseException] = []

    async def cleans_up() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            try:
                await db.fetch("SELECT pg_sleep(60)")
            except BaseException as error:  # noqa: BLE001 - which one is the question
                outcome.append(error)
            raise

    task = asyncio.create_task(cleans_up())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [type(error) for error in outcome] == [StatementTimeout]


async def test_a_real_cancel_stays_one_and_poisons_nothing(open_database: Open, administrator: Administrator) -> None:
    """A cancelled statement raises CancelledError; the next borrower gets the answer to its own question."""
    db = await open_database(size=1, statement_timeout=LONG)
    task = asyncio.create_task(db.fetch(f"SELECT pg_sleep({LONG}), 'cancelled'"))
    await eventually(lambda: administrator.running("'cancelled'"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await db.fetch("SELECT 'mine'") == [("mine",)]


async def test_a_cancel_that_comes_together_with_the_answer_is_kept(
    open_database: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that is cancelled in the very moment its answer arrives ends cancelled: shutdown waits for such tasks."""
    original = Connection._ready
    tasks: list[asyncio.Task[object]] = []

    def ready(weak_self: Any) -> None:
        original(weak_self)
        waiter = weak_self()._waiter
        if tasks and waiter is not None and waiter.done():
            tasks.pop().cancel()

    monkeypatch.setattr(Connection, "_ready", staticmethod(ready))
    db = await open_database(size=1)
    tasks.append(task := asyncio.create_task(db.fetch("SELECT 1")))
    await asyncio.wait([task])
    assert tasks == []
    assert task.cancelled()
    assert await db.fetch("SELECT 1") == [(1,)]


async def test_a_client_timeout_poisons_nothing(open_database: Open) -> None:
    """A caller's asyncio.timeout is TimeoutError; the next borrower gets a connection that answers its own question."""
    db = await open_database(size=1, statement_timeout=LONG)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await db.fetch(f"SELECT pg_sleep({LONG}), 'late'")
    assert await db.fetch("SELECT 'mine'") == [("mine",)]


async def test_errors_arrive_when_descriptors_are_beyond_1024(open_database: Open) -> None:
    """A busy gateway has many sockets; select() refuses high descriptors and must not swallow the statement's error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    taken = [os.open(os.devnull, os.O_RDONLY)]
    try:
        while taken[-1] < 1100:
            taken.append(os.dup(taken[0]))
        db = await open_database(size=1)
        with pytest.raises(StatementRejected):
            await db.fetch("SELECT no_such_column")
        pid = await backend(db)
        with pytest.raises(DatabaseUnavailable, match="lost"):
            await db.fetch("SELECT pg_terminate_backend(pg_backend_pid())")
        assert await backend(db) != pid
        await db.close()
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_serialization_failure_is_repeated_only_when_idempotent(open_database: Open) -> None:
    """An idempotent statement survives two serialization failures; another is told of the first one."""
    db = await open_database()
    await db.execute("CREATE SEQUENCE calls")
    await db.execute(
        """CREATE FUNCTION collides() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('calls') % 3 <> 0 THEN RAISE 'try again' USING ERRCODE = '40001'; END IF; RETURN 7; END $$"""
    )
    assert await db.fetch_one("SELECT collides()", idempotent=True) == (7,)
    with pytest.raises(StatementRejected) as caught:
        await db.fetch_one("SELECT collides()")
    assert caught.value.sqlstate == "40001"


# -- connections that die ---------------------------------------------------------------------------------------------


async def test_a_connection_that_dies_under_a_statement_is_uncertain(
    open_database: Open, administrator: Administrator
) -> None:
    """A statement under way may have been carried out: DatabaseUnavailable says uncertain."""
    db = await open_database(statement_timeout=LONG)
    task = asyncio.create_task(db.fetch(f"SELECT pg_sleep({LONG}), 'dies'"))
    await eventually(lambda: administrator.running("'dies'"))
    administrator.terminate(administrator.running("'dies'")[0])
    with pytest.raises(DatabaseUnavailable) as caught:
        await task
    assert caught.value.uncertain


async def test_an_idempotent_statement_outlives_its_connection(
    open_database: Open, administrator: Administrator
) -> None:
    """An idempotent statement whose connection dies is sent again on another."""
    db = await open_database(statement_timeout=LONG)
    await db.execute("CREATE SEQUENCE tries")
    sleeps_once = f"SELECT pg_backend_pid(), CASE nextval('tries') WHEN 1 THEN pg_sleep({LONG}) END -- survives"
    task = asyncio.create_task(db.fetch(sleeps_once, idempotent=True))
    await eventually(lambda: administrator.running("-- survives"))
    first = administrator.running("-- survives")[0]
    administrator.terminate(first)
    ((second, _),) = await task
    assert second != first


async def test_idle_connections_that_died_are_not_lent(open_database: Open, administrator: Administrator) -> None:
    """After all idle connections died even a statement that may not be repeated goes through, also at once."""
    db = await open_database(size=3)
    await asyncio.gather(*(db.fetch("SELECT pg_sleep(0.05)") for _ in range(3)))
    for pid in administrator.sessions("gapura"):
        administrator.terminate(pid)
    assert await db.execute("SELECT 1") == 1  # the event loop had no moment to notice


async def test_a_waiter_is_woken_when_the_connection_ahead_dies(
    open_database: Open, administrator: Administrator
) -> None:
    """aiopg's lost wake-up: a connection that dies at release wakes the next in the queue."""
    db = await open_database(size=1, statement_timeout=LONG)
    holder = asyncio.create_task(db.fetch(f"SELECT pg_sleep({LONG}), 'holder'"))
    await eventually(lambda: administrator.running("'holder'"))
    waiters = [asyncio.create_task(db.fetch("SELECT 1")) for _ in range(3)]
    await asyncio.sleep(0)
    administrator.terminate(administrator.running("'holder'")[0])
    assert await asyncio.gather(*waiters) == [[(1,)]] * 3
    with pytest.raises(DatabaseUnavailable):
        await holder


async def test_a_restart_of_postgresql_is_survived(open_database: Open, own_postgres: EmbeddedPostgres) -> None:
    """While the server is away statements fail at once and certainly; afterwards everything goes on by itself."""
    db = await open_database(own_postgres.url, statement_timeout=600)
    await asyncio.gather(*(db.fetch("SELECT pg_sleep(0.05)") for _ in range(4)))
    own_postgres.stop()
    assert not await db.ping()
    for idempotent in (True, False):
        with pytest.raises(DatabaseUnavailable) as caught:
            await db.fetch("SELECT 1", idempotent=idempotent)
        assert not caught.value.uncertain
    own_postgres.start()
    await answers(db)
    assert await asyncio.gather(*(db.fetch("SELECT 1") for _ in range(20))) == [[(1,)]] * 20


async def test_a_server_that_vanished_silently_is_given_up(
    open_database: Open, own_postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the server neither answers nor hangs up, this side ends the statement, uncertain; nothing is poisoned."""
    monkeypatch.setattr("db.database._GRACE", 2.0)
    db = await open_database(own_postgres.url, size=1, statement_timeout=SHORT)
    pid = await backend(db)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(DatabaseUnavailable, match="no answer") as caught:
            await db.fetch("SELECT 1")
        assert caught.value.uncertain
        assert await backend(db) != pid
        await answers(db)
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_a_busy_pool_is_given_up_not_waited_for_for_ever(
    open_database: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When no connection comes back for a second, a waiter is told so, certainly unsent."""
    monkeypatch.setitem(PATIENCE, "patience", 1.0)
    db = await open_database(size=1)
    async with db.transaction():
        with pytest.raises(DatabaseUnavailable, match="busy") as caught:
            await db.fetch("SELECT 1")
    assert not caught.value.uncertain
    assert await db.fetch("SELECT 1") == [(1,)]


async def test_nobody_listens(open_database: Open) -> None:
    """A refused connection is DatabaseUnavailable, certainly unsent."""
    with pytest.raises(DatabaseUnavailable, match="cannot be reached") as caught:
        await open_database("postgres://me:hush@127.0.0.1:1/none")
    assert not caught.value.uncertain


async def test_a_refused_setting_leaks_no_session(
    open_database: Open, empty_database_url: str, administrator: Administrator
) -> None:
    """A connection that cannot be set up is closed, not leaked, and its place in the pool is free again."""
    url = f"{empty_database_url}{'&' if '?' in empty_database_url else '?'}options=-c%20work_mem%3Dnonsense"
    for _ in range(3):
        with pytest.raises(DatabaseUnavailable, match="work_mem"):
            await open_database(url, size=1)
    await eventually(lambda: not administrator.sessions("gapura"))


async def test_addresses_are_tried_one_by_one(
    open_database: Open, own_postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """localhost may be two addresses: a first one where nobody listens must not make the connection hang. A name's
    addresses and a URL's list of hosts are alike."""

    async def two(name: str) -> list[str]:
        return ["127.0.0.99", "127.0.0.1"] if name == "somewhere" else [name]

    monkeypatch.setattr("db.connection._look_up", two)
    place = urlsplit(str(own_postgres.url)).netloc.partition("@")[2]
    for hosts in (place.replace("127.0.0.1", "somewhere"), f"{place.replace('0.1', '0.99')},{place}"):
        db = await open_database(str(own_postgres.url).replace(place, hosts))
        assert await db.fetch("SELECT 1") == [(1,)]


async def test_closing_ends_what_is_under_way(open_database: Open, administrator: Administrator) -> None:
    """close() ends statements under way, and refuses later ones."""
    db = await open_database(size=1, statement_timeout=LONG)
    task = asyncio.create_task(db.fetch(f"SELECT pg_sleep({LONG}), 'open'"))
    await eventually(lambda: administrator.running("'open'"))
    waiting = asyncio.create_task(db.fetch("SELECT 1"))
    await asyncio.sleep(0)
    await db.close()
    outcomes = await asyncio.gather(task, waiting, db.fetch("SELECT 1"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [DatabaseUnavailable] * 3


def test_aiopg_still_has_what_we_close_its_holes_with() -> None:
    """db/connection.py overrides these; an aiopg without them needs a new look at every trap above."""
    assert all(hasattr(AiopgConnection, name) for name in ("_ready", "_poll"))
    assert "_waiter" in AiopgConnection.__init__.__code__.co_names


# -- nothing leaks from one borrower to the next ----------------------------------------------------------------------


@pytest.mark.parametrize("statement", ["SET work_mem = '123MB'", "SET statement_timeout = 0", "LISTEN something"])
async def test_what_one_borrower_sets_the_next_does_not_see(open_database: Open, statement: str) -> None:
    """SET and LISTEN do not leak through the pool."""
    db = await open_database(size=1)
    ask = "SELECT current_setting('work_mem'),"
    ask += " current_setting('statement_timeout'), ARRAY(SELECT pg_listening_channels())"
    before = await db.fetch(ask)
    await db.execute(statement)
    assert await db.fetch(ask) == before


async def test_what_a_transaction_sets_the_next_does_not_see(open_database: Open) -> None:
    """SET inside a committed transaction does not leak either; SET LOCAL costs no connection."""
    db = await open_database(size=1)
    before = await db.fetch("SHOW work_mem")
    async with db.transaction() as tx:
        await tx.execute("SET work_mem = '123MB'")
    assert await db.fetch("SHOW work_mem") == before
    pid = await backend(db)
    async with db.transaction() as tx:
        await tx.execute("SET LOCAL work_mem = '123MB'")
    assert await backend(db) == pid


# -- transactions -----------------------------------------------------------------------------------------------------


@pytest.fixture
async def table(open_database: Open) -> Database:
    """A Database of one connection with an empty table t."""
    db = await open_database(size=1)
    await db.execute("CREATE TABLE t (n int PRIMARY KEY)")
    return db


async def numbers(db: Database) -> list[int]:
    """What is in t."""
    return [n for (n,) in await db.fetch("SELECT n FROM t ORDER BY n")]


async def test_a_transaction_commits(table: Database) -> None:
    """All statements of the block hold together."""
    async with table.transaction() as tx:
        assert await tx.execute("INSERT INTO t VALUES (1), (2)") == 2
        assert await tx.fetch_one("SELECT count(*) FROM t") == (2,)
    assert await numbers(table) == [1, 2]


async def test_an_exception_rolls_back(table: Database) -> None:
    """What was done before the exception is undone, and the same connection lives on."""
    pid = await backend(table)
    with pytest.raises(LookupError):
        async with table.transaction() as tx:
            await tx.execute("INSERT INTO t VALUES (1)")
            raise LookupError
    assert await numbers(table) == []
    assert await backend(table) == pid


async def test_rollback_on_exit(table: Database) -> None:
    """A block that asked for it is undone without an exception."""
    async with table.transaction() as tx:
        tx.rollback_on_exit()
        await tx.execute("INSERT INTO t VALUES (1)")
        assert await tx.fetch("SELECT n FROM t") == [(1,)]
    assert await numbers(table) == []


async def test_a_swallowed_failure_does_not_look_committed(table: Database) -> None:
    """PostgreSQL answers COMMIT after a failure with a silent ROLLBACK: that is an error here."""
    with pytest.raises(StatementRejected) as caught:
        async with table.transaction() as tx:
            await tx.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(StatementRejected):
                await tx.execute("INSERT INTO t VALUES (1)")
    assert caught.value.sqlstate == "25P02"
    assert await numbers(table) == []


async def test_a_cancelled_transaction_is_undone(table: Database) -> None:
    """A task cancelled between two statements leaves nothing behind, and no open transaction in the pool."""
    inside = asyncio.Event()

    async def work() -> None:
        async with table.transaction() as tx:
            await tx.execute("INSERT INTO t VALUES (1)")
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await numbers(table) == []


async def test_a_connection_lost_before_commit_is_certainly_nothing(
    table: Database, administrator: Administrator
) -> None:
    """Before COMMIT nothing can have been kept: not uncertain."""
    with pytest.raises(DatabaseUnavailable) as caught:
        async with table.transaction() as tx:
            ((pid,),) = await tx.fetch("SELECT pg_backend_pid()")
            await tx.execute("INSERT INTO t VALUES (1)")
            administrator.terminate(pid)
            await tx.execute("INSERT INTO t VALUES (2)")
    assert not caught.value.uncertain
    assert await numbers(table) == []


async def test_a_connection_lost_during_commit_is_uncertain(table: Database) -> None:
    """Nobody can know whether a COMMIT without an answer was carried out."""
    await table.execute(
        "CREATE FUNCTION dies() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"
    )
    await table.execute(
        "CREATE CONSTRAINT TRIGGER dies AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION dies()"
    )
    with pytest.raises(DatabaseUnavailable) as caught:
        async with table.transaction() as tx:
            await tx.execute("INSERT INTO t VALUES (1)")
    assert caught.value.uncertain


async def test_a_transaction_may_have_its_own_timeout(open_database: Open) -> None:
    """statement_timeout inside a transaction is its own, and the pool's afterwards."""
    db = await open_database(size=1, statement_timeout=SHORT)
    async with db.transaction(statement_timeout=0) as tx:
        await tx.execute(f"SELECT pg_sleep({SHORT + 0.5})")
    with pytest.raises(StatementTimeout):
        await db.fetch("SELECT pg_sleep(60)")


# -- secrets ----------------------------------------------------------------------------------------------------------


async def test_the_password_is_in_no_text(open_database: Open, own_postgres: EmbeddedPostgres) -> None:
    """Neither repr nor any error quotes the password, right or wrong, nor a URL that is none."""
    url = str(own_postgres.url)
    db = await open_database(url)
    password = str(urlsplit(url).password)
    assert db.url == url
    assert password not in repr(db)
    with pytest.raises(DatabaseUnavailable) as refused:
        await open_database(url.replace(password, "wrongwrong"))
    assert "wrongwrong" not in str(refused.value)
    for no_url in ("postgres//me:hushhush@here", "host=here password=hushhush"):
        with pytest.raises(CommandError) as bad:
            await open_database(no_url)
        assert "hushhush" not in str(bad.value)
    with pytest.raises(DatabaseUnavailable) as no_port:
        await open_database("postgres://me:hushhush@127.0.0.1:port/x")
    assert "hushhush" not in str(no_port.value)
