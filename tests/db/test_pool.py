"""Pool: slots, without a server."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from core.errors import DatabaseUnavailable
from db.pool import Pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class FakeConnection:
    """As much of a connection as the pool looks at."""

    lost = False

    def __init__(self) -> None:
        self.closed = 0
        self._ours, self.theirs = socket.socketpair()
        self.raw = SimpleNamespace(
            fileno=self._ours.fileno, get_transaction_status=lambda: TRANSACTION_STATUS_IDLE
        )  # fmt: skip

    def close(self) -> None:
        self.closed = 1
        self._ours.close()
        self.theirs.close()


class FakeServer:
    """Makes connections when its gate is open."""

    def __init__(self) -> None:
        self.gate, self.refuses = asyncio.Event(), False
        self.gate.set()
        self.made: list[FakeConnection] = []

    async def connect(self) -> Any:
        await self.gate.wait()
        if self.refuses:
            raise DatabaseUnavailable("refused")
        self.made.append(FakeConnection())
        return self.made[-1]


@pytest.fixture
async def server(loop: asyncio.AbstractEventLoop) -> AsyncIterator[FakeServer]:
    """A FakeServer whose connections are closed at the end."""
    server = FakeServer()
    yield server
    for connection in server.made:
        connection.close()


async def turns() -> None:
    """Whatever is due happens."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_slow_connect_holds_up_nobody_else(server: FakeServer) -> None:
    """A connection that comes back is lent on while another is being made (aiopg connects under the pool's lock)."""
    pool = Pool(server.connect, 2)
    first = await pool.acquire()
    server.gate.clear()
    connecting = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    pool.release(first)
    assert await waiting is first
    assert not connecting.done()
    server.gate.set()
    assert await connecting is not first


async def test_a_failed_connect_gives_its_slot_to_the_next(server: FakeServer) -> None:
    """Every waiter of a server that refuses is told so by its own attempt; none is left behind."""
    pool = Pool(server.connect, 1)
    server.refuses = True
    outcomes = await asyncio.gather(*(pool.acquire() for _ in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [DatabaseUnavailable] * 5
    server.refuses = False
    assert await pool.acquire() is server.made[0]


async def test_a_waiter_that_leaves_as_it_is_served_passes_its_slot_on(server: FakeServer) -> None:
    """A task cancelled in the very moment it is handed a slot does not take it along."""
    pool = Pool(server.connect, 1)
    held = await pool.acquire()
    leaving, staying = asyncio.create_task(pool.acquire()), asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    pool.release(held)
    leaving.cancel()
    assert await staying is held
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_a_cancelled_connect_gives_its_slot_back(server: FakeServer) -> None:
    """A task cancelled while its connection is being made does not take the slot along."""
    pool = Pool(server.connect, 1)
    server.gate.clear()
    task = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    server.gate.set()
    assert await pool.acquire() is server.made[0]


async def test_a_queue_that_moves_is_waited_in(
    server: FakeServer, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patience is for a queue that stands still: as long as connections come back, a waiter keeps its place. Time is
    played: a second for each that comes back."""
    passed = 0.0
    monkeypatch.setattr(loop, "time", lambda: passed)
    pool = Pool(server.connect, 2, patience=2.0, longest_wait=60)
    slow, quick = await pool.acquire(), await pool.acquire()
    waiting = [asyncio.create_task(pool.acquire()) for _ in range(20)]
    for task in waiting:
        await turns()
        passed += 1.0
        await turns()
        pool.release(quick)
        quick = await task
    standing = asyncio.create_task(pool.acquire())
    for _ in range(2):
        await turns()
        passed += 1.0
    with pytest.raises(DatabaseUnavailable, match="busy"):
        await standing
    pool.release(slow)
    assert len(server.made) == 2


async def test_a_connection_with_something_to_say_is_not_lent(server: FakeServer) -> None:
    """An idle connection that became readable is dying; the next borrower gets a new one."""
    pool = Pool(server.connect, 1)
    pool.release(await pool.acquire())
    server.made[0].theirs.send(b"FATAL")
    assert await pool.acquire() is server.made[1]
    assert server.made[0].closed


async def test_one_lost_connection_closes_the_idle_ones(server: FakeServer) -> None:
    """A connection that PostgreSQL dropped tells about the others; one closed from this side does not."""
    pool = Pool(server.connect, 3)
    kept, cancelled, lost = [await pool.acquire() for _ in range(3)]
    pool.release(kept)
    cancelled.close()
    pool.release(cancelled)
    assert not server.made[0].closed
    lost.lost = True
    lost.close()
    pool.release(lost)
    assert server.made[0].closed


async def test_a_pool_can_be_filled(server: FakeServer) -> None:
    """All connections are made before anybody needs them; where one is refused, those that were made stay."""
    pool = Pool(server.connect, 3)
    await pool.fill(3)
    assert len(server.made) == 3
    server.refuses = True
    assert {await pool.acquire() for _ in range(3)} == set(server.made)
    empty = Pool(server.connect, 3)
    with pytest.raises(DatabaseUnavailable):
        await empty.fill(3)
    server.refuses = False
    await empty.fill(3)
