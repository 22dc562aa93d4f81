"""PostgreSQL for the rest of the program: statements, transactions, and errors that say whether to try again."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from typing import TYPE_CHECKING, TypeVar

from core.errors import DatabaseUnavailable, StatementRejected, StatementTimeout
from db.connection import connect, parse_url
from db.pool import Pool
from db.statement import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from db.connection import Connection
    from db.statement import Answer, Params, Row

T = TypeVar("T")

DIRECT = "gapura.direct"
"""A setting that each connection asks for, without a meaning of its own: where it does not arrive there is a pooler."""

_OPENS_WITHIN = 10.0
"""Seconds for each of the first connections. Nobody waits for them as a caller does for a later one, and a program that
gives up because a machine stood still for a moment does not come back by itself."""

_ATTEMPTS = 4
_TRY_AGAIN = {"40P01", "40001"}  # deadlock, serialization failure
# What a statement of such a kind changed would stay with the connection for its next borrower.
_CHANGES_SESSION = {"SET", "RESET", "LISTEN", "PREPARE", "DECLARE CURSOR", "DISCARD ALL"}
_SET_LOCAL = re.compile(r"\s*SET\s+(LOCAL|TRANSACTION|CONSTRAINTS)\b", re.IGNORECASE)
# The client gives up this many seconds after the server should have: only a server that vanished is ended from here.
_GRACE = 2.0
_FOR_EVER = 86_400.0


class Transaction:
    """The statements between BEGIN and COMMIT; one at a time. Made by `Database.transaction`."""

    def __init__(self, connection: Connection, client_timeout: float) -> None:
        self._connection, self._timeout = connection, client_timeout
        self.always_rolls_back = self.leaves_traces = False

    def rollback_on_exit(self) -> None:
        """Undo everything at the end, also when all went well."""
        self.always_rolls_back = True

    async def fetch(self, sql: str, params: Params = ()) -> list[Row]:
        """As `Database.fetch`; a lost connection is never uncertain, since nothing was committed."""
        return (await self._run(sql, params)).rows

    async def fetch_one(self, sql: str, params: Params = ()) -> Row | None:
        """The first row or None."""
        rows = await self.fetch(sql, params)
        return rows[0] if rows else None

    async def execute(self, sql: str, params: Params = ()) -> int:
        """The number of rows affected."""
        return (await self._run(sql, params)).count

    async def _run(self, sql: str, params: Params) -> Answer:
        try:
            answer = await run(self._connection, sql, params, self._timeout)
        except DatabaseUnavailable as error:
            raise DatabaseUnavailable(str(error)) from error
        self.leaves_traces |= _leaves_traces(sql, answer)
        return answer


class Database:
    """A small pool of connections to one PostgreSQL. Every statement outside a transaction commits by itself.

    SQL takes `%s` placeholders with a sequence, `%(name)s` with a mapping. With params a literal percent is `%%`;
    without params the text is sent as it stands.
    jsonb arrives as Python objects, timestamptz aware in UTC, uuid as UUID, bytea as bytes.

    All methods raise DatabaseUnavailable, StatementTimeout or StatementRejected, and no error of a driver. A task that
    is cancelled meanwhile gets CancelledError, and its statement may run on at the server until its statement_timeout.
    """

    def __init__(
        self, url: str, size: int, statement_timeout: float, application_name: str, connect_timeout: float
    ) -> None:
        self._url, self._client_timeout = url, statement_timeout + _GRACE
        self._connect_timeout, self._application_name = connect_timeout, application_name
        self._settings = {
            "statement_timeout": f"{statement_timeout * 1000:.0f}",
            "TimeZone": "UTC",
            # Functions that forbid sequential scans have plans of a huge estimated cost before PostgreSQL 18, each of
            # which would be compiled anew: half a second for every batch of sends.
            "jit": "off",
            DIRECT: "on",
        }
        self._size, self._pool = size, Pool(self._connect, size)

    @classmethod
    async def open(
        cls,
        url: str,
        size: int = 8,
        statement_timeout: float = 5.0,
        application_name: str = "gapura",
        *,
        connect_timeout: float = 1.5,
    ) -> Database:
        """Connect once, to succeed or to fail clearly; the other connections are made when needed. Times are seconds;
        `connect_timeout` is that of the others, the first has more.

        CommandError when `url` is no PostgreSQL URL, DatabaseUnavailable when nobody answers or lets us in.
        """
        parse_url(url)
        db = cls(url, size, statement_timeout, application_name, connect_timeout)
        await db._fill(1)
        return db

    async def fill(self) -> None:
        """Make all connections now: later there may be none to be had. Raises as `open`, and has as much time."""
        await self._fill(self._size)

    async def _fill(self, connections: int) -> None:
        usual, self._connect_timeout = self._connect_timeout, max(self._connect_timeout, _OPENS_WITHIN)
        try:
            await self._pool.fill(connections)
        finally:
            self._connect_timeout = usual

    def __repr__(self) -> str:
        parts = parse_url(self._url)
        return f"<Database {parts.get('dbname')} at {parts.get('host')}:{parts.get('port', '5432')}>"

    @property
    def url(self) -> str:
        """Where it is, with its password: not for logs."""
        return self._url

    async def fetch(self, sql: str, params: Params = (), *, idempotent: bool = False) -> list[Row]:
        """All rows of one statement ([] when it gives none).

        An `idempotent` statement is sent again by itself after a lost connection, a deadlock, a serialization failure.
        """
        return (await self._statement(sql, params, idempotent)).rows

    async def fetch_one(self, sql: str, params: Params = (), *, idempotent: bool = False) -> Row | None:
        """The first row or None."""
        rows = await self.fetch(sql, params, idempotent=idempotent)
        return rows[0] if rows else None

    async def execute(self, sql: str, params: Params = (), *, idempotent: bool = False) -> int:
        """The number of rows affected (0 for statements that affect none by nature)."""
        return (await self._statement(sql, params, idempotent)).count

    async def ping(self) -> bool:
        """Whether PostgreSQL answers within two seconds; never raises."""
        try:
            async with asyncio.timeout(2):
                await self.fetch("SELECT 1", idempotent=True)
        except (TimeoutError, DatabaseUnavailable, StatementTimeout):
            return False
        return True

    @contextlib.asynccontextmanager
    async def transaction(self, *, statement_timeout: float | None = None) -> AsyncIterator[Transaction]:
        """BEGIN … COMMIT around the block, ROLLBACK when it raises. `statement_timeout` (seconds, 0: none) holds in it.

        Only a connection lost during COMMIT itself is `uncertain`.
        """
        connection = await self._begin(statement_timeout)
        tx = Transaction(connection, self._client_timeout_for(statement_timeout))
        clean = False
        try:
            yield tx
            await _end(connection, tx, self._client_timeout)
            clean = not tx.leaves_traces
        except Exception:
            clean = await _undo(connection, self._client_timeout)
            raise
        finally:
            self._pool.release(connection, keep=clean)

    async def close(self) -> None:
        """Close every connection; statements still under way end with DatabaseUnavailable."""
        self._pool.close()
        await asyncio.sleep(0)

    async def _connect(self) -> Connection:
        return await connect(
            self._url,
            settings=self._settings,
            connect_timeout=self._connect_timeout,
            client_timeout=self._client_timeout,
            application_name=self._application_name,
        )

    def _client_timeout_for(self, statement_timeout: float | None) -> float:
        if statement_timeout is None:
            return self._client_timeout
        return statement_timeout + _GRACE if statement_timeout else _FOR_EVER

    async def _begin(self, statement_timeout: float | None) -> Connection:
        async def once() -> Connection:
            connection = await self._pool.acquire()
            try:
                await run(connection, _begin(statement_timeout), (), self._client_timeout)
            except BaseException:
                self._pool.release(connection, keep=False)
                raise
            return connection

        try:
            return await _repeated(once)
        except DatabaseUnavailable as error:
            raise DatabaseUnavailable(str(error)) from error

    async def _statement(self, sql: str, params: Params, idempotent: bool) -> Answer:
        async def once() -> Answer:
            connection = await self._pool.acquire()
            keep = False
            try:
                answer = await run(connection, sql, params, self._client_timeout)
                keep = not _leaves_traces(sql, answer)
            except (StatementRejected, StatementTimeout):
                keep = True
                raise
            finally:
                self._pool.release(connection, keep=keep)
            return answer

        return await _repeated(once) if idempotent else await once()


async def _repeated(once: Callable[[], Awaitable[T]]) -> T:
    """Again after a deadlock or a lost connection, a few times; at once unavailable when no connection can be had."""
    uncertain = False
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return await once()
        except DatabaseUnavailable as error:
            uncertain |= error.uncertain
            if not error.uncertain or attempt == _ATTEMPTS:
                raise DatabaseUnavailable(str(error), uncertain=uncertain) from error
        except StatementRejected as error:
            if error.sqlstate not in _TRY_AGAIN or attempt == _ATTEMPTS:
                raise
            await asyncio.sleep(random.uniform(0, 0.01 * attempt))  # noqa: S311 - two that collided must not again
    raise AssertionError("the last attempt returns or raises")


def _leaves_traces(sql: str, answer: Answer) -> bool:
    return answer.tag in _CHANGES_SESSION and not _SET_LOCAL.match(sql)


def _begin(statement_timeout: float | None) -> str:
    if statement_timeout is None:
        return "BEGIN"
    return f"BEGIN; SET LOCAL statement_timeout = {statement_timeout * 1000:.0f}"


async def _end(connection: Connection, tx: Transaction, timeout: float) -> None:
    if tx.always_rolls_back:
        await run(connection, "ROLLBACK", (), timeout)
    elif (await run(connection, "COMMIT", (), timeout)).tag != "COMMIT":
        # After a statement that failed and whose error was swallowed, PostgreSQL answers COMMIT with a ROLLBACK.
        raise StatementRejected("25P02", "nothing was committed: a statement in the transaction had failed")


async def _undo(connection: Connection, timeout: float) -> bool:
    """ROLLBACK; whether the connection is fit for the next borrower."""
    if connection.closed:
        return False
    try:
        await run(connection, "ROLLBACK", (), timeout)
    except (DatabaseUnavailable, StatementTimeout, StatementRejected):
        return False
    return True
