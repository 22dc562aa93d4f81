"""A fixed number of connections, lent to one borrower at a time.

aiopg's own pool connects under its lock, forgets to wake a waiter when a connection dies, and leaks the connection
whose `on_connect` fails. Here a *slot* is what is counted and waited for; whether a connection lives in it is another
matter.
"""

from __future__ import annotations

import asyncio
import select
from collections import deque
from typing import TYPE_CHECKING

from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from core.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from db.connection import Connection


class Pool:
    """At most `size` connections, made when needed.

    A queue that moves is waited in for up to `longest_wait` seconds; one that stands still for `patience` seconds is
    given up. Invariant: free slots + borrowed slots = size, and a free slot never stands beside a waiter.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        size: int,
        *,
        patience: float = 1.0,
        longest_wait: float = 10.0,
    ) -> None:
        self._connect, self._size, self._patience, self._longest_wait = connect, size, patience, longest_wait
        self._free, self._returned, self._closed = size, 0, False
        self._idle: list[Connection] = []
        self._borrowed: set[Connection] = set()
        self._waiters: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> Connection:
        """A living connection, to be given back by `release`. DatabaseUnavailable (not uncertain) if there is none."""
        await self._take_slot()
        try:
            connection = self._take_idle() or await self._connect()
        except BaseException:
            self._give_slot()
            raise
        if self._closed:
            connection.close()
            self._give_slot()
            raise _closed()
        self._borrowed.add(connection)
        return connection

    async def fill(self, count: int) -> None:
        """Have at least `count` connections ready. Raises as `acquire`."""
        made: list[Connection] = []
        try:
            while len(made) < count:
                made.append(await self.acquire())
        finally:
            for connection in made:
                self.release(connection)

    def release(self, connection: Connection, *, keep: bool = True) -> None:
        """Give back. Unless `keep` and no transaction is open, the connection is closed; its slot is free anyway."""
        self._borrowed.discard(connection)
        if connection.lost:
            # The others most likely died with it: better to connect anew than to lose one statement on each.
            self._drop_idle()
        reusable = keep and not self._closed and not connection.closed
        if reusable and connection.raw.get_transaction_status() == TRANSACTION_STATUS_IDLE:
            self._idle.append(connection)
            self._returned += 1
        else:
            connection.close()
        self._give_slot()

    def close(self) -> None:
        """Close all connections, the borrowed ones too; waiters are told."""
        self._closed = True
        self._drop_idle()
        for connection in tuple(self._borrowed):
            connection.close()
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(_closed())

    async def _take_slot(self) -> None:
        if self._closed:
            raise _closed()
        if self._free:
            self._free -= 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await self._stand_in_queue(waiter)
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_slot()  # it was handed over in the very moment its waiter left
            waiter.cancel()
            raise

    async def _stand_in_queue(self, waiter: asyncio.Future[None]) -> None:
        end = asyncio.get_running_loop().time() + self._longest_wait
        while not waiter.done():
            seen = self._returned
            await asyncio.wait((waiter,), timeout=self._patience)
            stands_still = self._returned == seen or asyncio.get_running_loop().time() > end
            if not waiter.done() and stands_still:
                raise DatabaseUnavailable(f"all {self._size} connections to PostgreSQL are busy")
        waiter.result()

    def _give_slot(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and not _has_something_to_say(connection):
                return connection
            connection.close()
        return None

    def _drop_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()


def _has_something_to_say(connection: Connection) -> bool:
    """An idle connection that is readable holds a farewell: it died, and the event loop had no time yet to notice."""
    poller = select.poll()
    poller.register(connection.raw.fileno(), select.POLLIN)
    return bool(poller.poll(0))


def _closed() -> DatabaseUnavailable:
    return DatabaseUnavailable("the database was closed")
