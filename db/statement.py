"""One statement on one connection, with the driver's errors translated into ours."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2.extensions import QueryCanceledError

from core.errors import DatabaseUnavailable, StatementRejected, StatementTimeout

if TYPE_CHECKING:
    from db.connection import Connection

Row = tuple[Any, ...]
Params = Sequence[Any] | Mapping[str, Any]

# Shutting down, crashed, starting up, idle for too long.
_GONE = {"57P01", "57P02", "57P03", "57P05"}
# No disk, no memory, no connection to be had; I/O errors; read-only after a fail-over; a lock that cannot be had. The
# statement had no effect, and another connection, another moment or another server may do better.
_UNABLE, _UNABLE_CLASSES = {"25006", "55P03"}, {"53", "58"}


@dataclass(frozen=True, slots=True)
class Answer:
    """All rows, the number of rows affected, and the command tag that PostgreSQL gave."""

    rows: list[Row]
    count: int
    tag: str


async def run(connection: Connection, sql: str, params: Params, timeout: float) -> Answer:
    """Send, wait at most `timeout` seconds, take all rows. DatabaseUnavailable (uncertain), StatementTimeout,
    StatementRejected."""
    try:
        cursor = await connection.cursor()
        try:
            await cursor.execute(sql, params or None, timeout=timeout)
            rows = await cursor.fetchall() if cursor.description else []
            return Answer(rows, max(cursor.rowcount, 0), cursor.raw.statusmessage or "")
        finally:
            with contextlib.suppress(psycopg2.Error):
                cursor.close()
    except TimeoutError as error:
        connection.lost = True
        raise DatabaseUnavailable(f"PostgreSQL gave no answer within {timeout:g} s", uncertain=True) from error
    except QueryCanceledError as error:
        raise StatementTimeout(_first_line(error)) from error
    except psycopg2.Error as error:
        raise _translated(error, connection) from error
    except ValueError as error:
        # psycopg2 refuses NUL and lone surrogates before it sends anything; any other ValueError is a mistake of ours.
        if not isinstance(error, UnicodeEncodeError) and "NUL" not in str(error):
            raise
        raise StatementRejected("22021", f"text that PostgreSQL cannot hold: {error}") from error


def _translated(error: psycopg2.Error, connection: Connection) -> DatabaseUnavailable | StatementRejected:
    sqlstate = error.pgcode or ""
    if connection.closed or sqlstate in _GONE or sqlstate.startswith("08"):
        connection.lost = True
        connection.close()
        return DatabaseUnavailable(f"the connection to PostgreSQL was lost: {_first_line(error)}", uncertain=True)
    if sqlstate in _UNABLE or sqlstate[:2] in _UNABLE_CLASSES:
        connection.lost = True
        return DatabaseUnavailable(f"PostgreSQL cannot do it now: {_first_line(error)}")
    return StatementRejected(sqlstate or "HY000", _first_line(error))


def _first_line(error: psycopg2.Error) -> str:
    """PostgreSQL's own sentence. The lines after it may quote rows and statements: people's messages."""
    return error.diag.message_primary or str(error).strip().partition("\n")[0]
