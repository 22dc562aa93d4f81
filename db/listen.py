"""Notifications, on a connection of their own that is made again whenever it is lost."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, NoReturn

import psycopg2

from core.errors import DatabaseUnavailable, Unavailable
from db.connection import connect
from db.statement import run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from db.connection import Connection

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_CONNECT_TIMEOUT = 2.0
_ANSWER_WITHIN = 5.0


class Listener:
    """Calls `channels[name](payload)` for every NOTIFY on a channel, from the event loop, in order.

    NOTIFY is a wake-up, not a queue: what is sent while nobody listens is lost. So each connection runs `session_sql`
    (for what shall live exactly as long as it, such as an advisory lock), LISTENs, and then awaits `on_connected`,
    which looks once at what it would have been told. What arrives during that look is dispatched after it.
    """

    def __init__(  # noqa: PLR0913 - the last two have defaults for everybody but tests
        self,
        url: str,
        channels: Mapping[str, Callable[[str], None]],
        *,
        on_connected: Callable[[], Awaitable[None]],
        on_lost: Callable[[], None] | None = None,
        session_sql: Sequence[tuple[str, tuple[Any, ...]]] = (),
        check_every: float = 2.0,
        application_name: str = "gapura-listener",
    ) -> None:
        """`on_lost` is called at once when a connection that was made is gone; `check_every`: seconds of silence after
        which the server is asked whether it lives."""
        self._on_lost = on_lost
        self._url, self._channels, self._on_connected = url, dict(channels), on_connected
        self._session_sql, self._check_every, self._application_name = session_sql, check_every, application_name
        self._connected = False

    @property
    def connected(self) -> bool:
        """Whether what was seen and told so far is all there is: LISTENing, and `on_connected` has finished since. A
        server that vanished silently is noticed after `check_every` and another five seconds at most."""
        return self._connected

    async def run(self) -> NoReturn:
        """For ever. An Unavailable, also from `on_connected`, leads to another attempt; any other error ends it."""
        pause = _FIRST_PAUSE
        while True:
            try:
                connection = await self._connect()
                try:
                    await self._begin(connection)
                    pause = _FIRST_PAUSE
                    await self._dispatch_for_ever(connection)
                finally:
                    was_connected, self._connected = self._connected, False
                    connection.close()
                    if was_connected and self._on_lost is not None:
                        self._on_lost()
            except Unavailable as error:
                log.warning("not listening: %s; again in %.1f s", error, pause, extra={"action": "listen_lost"})
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _connect(self) -> Connection:
        return await connect(
            self._url,
            settings={"TimeZone": "UTC"},
            connect_timeout=_CONNECT_TIMEOUT,
            client_timeout=_ANSWER_WITHIN,
            application_name=self._application_name,
        )

    async def _begin(self, connection: Connection) -> None:
        for sql, params in self._session_sql:
            await run(connection, sql, params, _ANSWER_WITHIN)
        for channel in self._channels:
            await run(connection, f"LISTEN {_quoted(channel)}", (), _ANSWER_WITHIN)
        await self._on_connected()
        self._connected = True
        log.info("listening to %s", ", ".join(self._channels), extra={"action": "listening"})

    async def _dispatch_for_ever(self, connection: Connection) -> NoReturn:
        # Not cancelled while the connection lives: aiopg loses a notification that comes in the very turn of the event
        # loop in which whoever waits for it gives up, as happens when the process has stood still.
        coming = asyncio.ensure_future(connection.notifies.get())
        try:
            while True:
                await asyncio.wait((coming,), timeout=self._check_every)
                if not coming.done():
                    await run(connection, "SELECT 1", (), _ANSWER_WITHIN)
                    continue
                notification = coming.result()
                coming = asyncio.ensure_future(connection.notifies.get())
                self._dispatch(notification.channel, notification.payload)
        except psycopg2.Error as error:
            raise DatabaseUnavailable("the connection to PostgreSQL was lost") from error
        finally:
            if not coming.cancel() and not coming.cancelled():
                coming.exception()  # its error is known by now

    def _dispatch(self, channel: str, payload: str) -> None:
        try:
            self._channels[channel](payload)
        except Exception:
            log.exception("a listener of %s failed", channel, extra={"action": "listener_failed"})


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
