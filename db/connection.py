"""One connection: aiopg's, with its holes closed, made to an address that cannot change under way.

This is the only module that reaches into aiopg; `tests/db/test_database.py` fails when aiopg changes there.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

import psycopg2
import psycopg2.extensions
import psycopg2.extras
from aiopg.connection import Connection as AiopgConnection

from core.errors import CommandError, DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

# A peer that vanished is noticed in about 20 s even where nothing is sent.
_KEEPALIVES = {"keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 3, "keepalives_count": 3}


class Connection(AiopgConnection):
    """aiopg's connection without two of its faults; it stays one statement at a time."""

    lost = False
    """PostgreSQL went away under it, as opposed to: it was closed from this side."""

    @staticmethod
    def _ready(weak_self: Any) -> None:
        """aiopg asks select() about the socket after every error, and select() refuses descriptors from 1024 on: the
        statement's own error would be lost and its caller wait for the client's timeout."""
        try:
            AiopgConnection._ready(weak_self)
        except ValueError as error:
            connection, cause = weak_self(), error.__context__
            if connection is None or not isinstance(cause, psycopg2.Error):
                raise
            waiter = connection._waiter
            if waiter is not None and not waiter.done():
                waiter.set_exception(cause)
            if connection.closed:
                connection.close()

    async def _poll(self, waiter: asyncio.Future[None], timeout: float) -> None:
        """aiopg turns a statement that the server cancelled (statement_timeout) into CancelledError, as if this task
        had been cancelled; here it stays QueryCanceledError. Whoever leaves early leaves a closed connection behind."""
        self._ready(self._weakref)
        try:
            # Not wait_for: until Python 3.12 it forgets a cancellation that comes together with the answer.
            async with asyncio.timeout(timeout):
                await waiter
        except (asyncio.CancelledError, TimeoutError):
            self.close()
            raise
        finally:
            self._waiter = None


def parse_url(url: str) -> dict[str, str]:
    """The parts of a `postgres://` URL. CommandError, without the URL (it holds a password), when it is none."""
    if url.startswith(("postgres://", "postgresql://")):
        with contextlib.suppress(psycopg2.ProgrammingError):
            return {key: str(value) for key, value in psycopg2.extensions.parse_dsn(url).items()}
    raise CommandError("the database URL is not understood: it must be postgres://USER:PASSWORD@HOST:PORT/DATABASE")


async def connect(
    url: str,
    *,
    settings: Mapping[str, str],
    connect_timeout: float,
    client_timeout: float,
    application_name: str,
) -> Connection:
    """A new connection with the server `settings` as its defaults (no SET, so that nothing can undo them).

    `client_timeout` (seconds) ends every statement from this side. DatabaseUnavailable (not uncertain) when there is
    none to be had.
    """
    parts = parse_url(url)
    options = [parts.pop("options", ""), *(f"-c {name}={value}" for name, value in settings.items())]
    base: dict[str, Any] = {
        **_KEEPALIVES,
        # A second attempt inside libpq gets a new socket, of which aiopg learns nothing.
        "gssencmode": "disable",
        **parts,
        "options": " ".join(filter(None, options)),
        "application_name": application_name,
    }
    problem = "no address"
    try:
        async with asyncio.timeout(connect_timeout):
            for host in await _addresses(parts):
                try:
                    return await _connect_to({**base, **host}, client_timeout)
                except psycopg2.Error as error:
                    problem = _without(parts.get("password"), str(error)) + _advice(str(error))
    except TimeoutError:
        problem = f"no answer within {connect_timeout:g} s"
    except OSError as error:
        problem = f"{parts.get('host')}: {error.strerror or error}"
    raise DatabaseUnavailable(f"PostgreSQL cannot be reached: {problem}")


def _advice(problem: str) -> str:
    """What to do about it. Only poolers take some settings of a connection and refuse others."""
    if "unsupported startup parameter" not in problem:
        return ""
    return " (a pooler such as PgBouncer answers there: give the address of PostgreSQL itself)"


async def _connect_to(parts: dict[str, Any], client_timeout: float) -> Connection:
    connection = Connection(
        None, client_timeout, enable_json=False, enable_hstore=False, enable_uuid=False, **parts
    )  # fmt: skip
    try:
        await connection
    except BaseException:
        connection.close()
        raise
    _register_types(connection.raw)
    return connection


async def _addresses(parts: Mapping[str, str]) -> list[dict[str, str]]:
    """Every address of the URL's hosts as libpq parameters, one address each.

    libpq would look names up inside the event loop, and change sockets when the first address fails (localhost is ::1
    and 127.0.0.1), after which aiopg waits for ever on the old one.
    """
    names = parts.get("host", "").split(",")
    if parts.get("hostaddr") or not names[0] or names[0].startswith("/"):
        return [{}]
    ports = parts.get("port", "5432").split(",")
    found = []
    for index, name in enumerate(names):
        port = ports[index] if index < len(ports) else ports[-1]
        found += [{"host": name, "hostaddr": address, "port": port} for address in await _look_up(name)]
    return found


async def _look_up(name: str) -> list[str]:
    if name == "localhost":
        return ["127.0.0.1", "::1"]
    infos = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


def _without(password: str | None, text: str) -> str:
    text = " ".join(text.split())
    return text.replace(password, "***") if password else text


def _bytes(value: Any, cursor: Any) -> bytes | None:
    view = psycopg2.BINARY(value, cursor)
    return None if view is None else bytes(view)


_BYTES = psycopg2.extensions.new_type(psycopg2.BINARY.values, "BYTES", _bytes)


def _register_types(raw: Any) -> None:
    """json and jsonb arrive as Python objects, uuid as UUID, bytea as bytes."""
    psycopg2.extras.register_default_json(raw)
    psycopg2.extras.register_default_jsonb(raw)
    psycopg2.extras.register_uuid(conn_or_curs=raw)  # type: ignore[no-untyped-call]
    psycopg2.extensions.register_type(_BYTES, raw)
