"""Listener: nothing that happened while nobody listened stays unseen."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from core.errors import DatabaseUnavailable
from db.listen import Listener
from tests.db.conftest import Administrator
from tests.db.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from db.database import Database
    from db.embedded import EmbeddedPostgres

    Open = Callable[..., Awaitable[Database]]


class Ears:
    """What a running Listener told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.looks = 0
        self.tasks: list[asyncio.Task[Any]] = []

    def hear(self, channel: str) -> Callable[[str], None]:
        """A callback that remembers."""
        return lambda payload: self.heard.append((channel, payload))

    async def look(self) -> None:
        """An on_connected that counts."""
        self.looks += 1

    def start(self, url: str | None, *channels: str, **settings: Any) -> Listener:
        """A running Listener."""
        assert url is not None
        settings = {"on_connected": self.look, "check_every": 0.2, **settings}
        listener = Listener(url, {name: self.hear(name) for name in channels}, **settings)
        self.tasks.append(asyncio.create_task(listener.run()))
        return listener


@pytest.fixture
async def ears(loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ears]:
    """Ears whose listeners end with the test, and do not take a machine that stands still for a dead server."""
    monkeypatch.setattr("db.listen._ANSWER_WITHIN", 60.0)
    ears = Ears()
    yield ears
    for task in ears.tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_payloads_arrive_in_order_on_their_channels(
    ears: Ears, empty_database_url: str, open_database: Open
) -> None:
    """Every NOTIFY reaches its channel's callback, in order; names may need quotes; others are not heard."""
    db = await open_database()
    listener = ears.start(empty_database_url, "plain", 'Odd "name"')
    await eventually(lambda: listener.connected)
    for channel, payload in [("plain", "1"), ('Odd "name"', "ü"), ("other", "x"), ("plain", ""), ("plain", "2")]:
        await db.execute("SELECT pg_notify(%s, %s)", (channel, payload))
    await eventually(lambda: len(ears.heard) == 4)
    assert ears.heard == [("plain", "1"), ('Odd "name"', "ü"), ("plain", ""), ("plain", "2")]


async def test_what_is_told_during_the_first_look_is_not_lost(
    ears: Ears, empty_database_url: str, open_database: Open
) -> None:
    """LISTEN comes before the look, and what arrives meanwhile is dispatched after it; connected is true after it."""
    db = await open_database()
    seen: list[tuple[bool, int]] = []

    async def look() -> None:
        await db.execute("SELECT pg_notify('c', 'meanwhile')")
        seen.append((listener.connected, len(ears.heard)))

    listener = ears.start(empty_database_url, "c", on_connected=look)
    await eventually(lambda: ears.heard)
    assert listener.connected
    assert (seen, ears.heard) == ([(False, 0)], [("c", "meanwhile")])


async def test_a_killed_connection_is_made_again(
    ears: Ears, empty_database_url: str, administrator: Administrator
) -> None:
    """After a kill: not connected, then the session's own SQL, LISTEN, and one more look, on a new connection."""
    locked = (
        "SELECT pid FROM pg_locks JOIN pg_database d ON d.oid = database"
        " WHERE locktype = 'advisory' AND objid = 7 AND datname = current_database()"
    )
    states: list[bool] = []

    async def look() -> None:
        states.append(listener.connected)
        await ears.look()

    listener = ears.start(
        empty_database_url, "c", on_connected=look, session_sql=[("SELECT pg_advisory_lock(%s)", (7,))]
    )
    await eventually(lambda: listener.connected)
    ((first,),) = administrator.rows(locked)
    administrator.terminate(first)
    await eventually(lambda: ears.looks == 2 and listener.connected)
    ((second,),) = administrator.rows(locked)
    assert second != first
    assert states == [False, False]
    administrator.rows("SELECT pg_notify('c', 'again')")
    await eventually(lambda: ears.heard)


async def test_a_restart_of_postgresql_is_survived(
    ears: Ears, own_postgres: EmbeddedPostgres, open_database: Open
) -> None:
    """While the server is away the listener says so, and it hears again afterwards without being asked."""
    listener = ears.start(own_postgres.url, "c")
    await eventually(lambda: listener.connected)
    own_postgres.stop()
    await eventually(lambda: not listener.connected)
    own_postgres.start()
    await eventually(lambda: listener.connected)
    db = await open_database(own_postgres.url)
    await db.execute("SELECT pg_notify('c', 'back')")
    await eventually(lambda: ears.heard == [("c", "back")])
    assert ears.looks == 2


async def test_a_server_that_vanished_silently_is_noticed(
    ears: Ears, own_postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is open but dead is replaced, though nobody ever closed it."""
    monkeypatch.setattr("db.listen._ANSWER_WITHIN", 1.0)
    listener = ears.start(own_postgres.url, "c")
    await eventually(lambda: listener.connected)
    looks, (pid,) = ears.looks, Administrator(str(own_postgres.url)).sessions("gapura-listener")
    os.kill(pid, signal.SIGSTOP)
    try:
        await eventually(lambda: ears.looks > looks)
    finally:
        os.kill(pid, signal.SIGCONT)


def stand_still(seconds: float) -> None:
    """The whole process, with its event loop."""
    time.sleep(seconds)


async def test_what_comes_while_the_process_stands_still_is_heard(
    ears: Ears, empty_database_url: str, administrator: Administrator
) -> None:
    """Also when the time to ask whether the server lives comes in the same turn of the event loop."""
    listener = ears.start(empty_database_url, "c")
    await eventually(lambda: listener.connected)
    for number in range(5):
        await asyncio.sleep(0.05)
        administrator.rows("SELECT pg_notify('c', %s)", (str(number),))
        stand_still(0.3)
    await eventually(lambda: len(ears.heard) == 5)
    assert ears.heard == [("c", str(number)) for number in range(5)]
    assert ears.looks == 1


async def test_a_callback_that_fails_harms_nobody_else(
    empty_database_url: str, ears: Ears, administrator: Administrator
) -> None:
    """The failure is logged; what comes next is still heard, on the same connection."""

    def fail(payload: str) -> None:
        raise ValueError(payload)

    listener = Listener(empty_database_url, {"bad": fail, "good": ears.hear("good")}, on_connected=ears.look)
    ears.tasks.append(asyncio.create_task(listener.run()))
    await eventually(lambda: listener.connected)
    administrator.rows("SELECT pg_notify('bad', ''), pg_notify('good', 'x')")
    await eventually(lambda: ears.heard == [("good", "x")])
    assert ears.looks == 1


async def test_a_look_that_finds_the_database_away_is_repeated(ears: Ears, empty_database_url: str) -> None:
    """Unavailable from on_connected leads to another attempt with a new look."""
    outcomes = [DatabaseUnavailable("away"), DatabaseUnavailable("still away"), None]

    async def look() -> None:
        if (error := outcomes.pop(0)) is not None:
            raise error

    listener = ears.start(empty_database_url, "c", on_connected=look)
    await eventually(lambda: listener.connected)
    assert outcomes == []


async def test_a_mistake_ends_it_loudly(empty_database_url: str) -> None:
    """An error that no repetition will cure is raised, and the connection is not left open."""

    async def look() -> None:
        raise LookupError("a mistake")

    with pytest.raises(LookupError):
        await Listener(empty_database_url, {"c": print}, on_connected=look).run()


async def test_a_cancelled_listener_leaves_no_session(
    empty_database_url: str, ears: Ears, administrator: Administrator
) -> None:
    """Cancelling run() closes its connection, and with it whatever lock shows that the process lives."""
    listener = ears.start(empty_database_url, "c")
    await eventually(lambda: listener.connected)
    ears.tasks[0].cancel()
    await eventually(lambda: not administrator.sessions("gapura-listener"))
    assert not listener.connected
