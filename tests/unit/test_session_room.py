"""Whose turn it is to connect, and how many may begin to use PostgreSQL: no storm when a gateway of hundreds starts."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, cast

import pytest

from core.clock import Clock
from core.errors import DatabaseUnavailable
from core.session_rows import FreeConnections, Lease
from core.sessions.room import KEEP_AT_LEAST, LONGEST, Room, Turns
from core.sessions.session import Session
from tests.unit.test_session_life import FakeClient, World

if TYPE_CHECKING:
    from core.sessions.surroundings import OnEvent, Surroundings

HUNDREDS = 200


class SteppingClock(Clock):
    """Time passes only in sleeps, which are over at once; gaps are as short as they can be."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds
        await asyncio.sleep(0)

    def uniform(self, low: float, high: float) -> float:
        return low


class Crowd(World):
    """Hundreds of sessions in one process; who connects when, and how many at a time."""

    def __init__(self, free: int = 10_000) -> None:
        super().__init__()
        self.clock = SteppingClock()  # type: ignore[assignment]
        self.free, self.began, self.connecting, self.most = free, list[float](), 0, 0
        self.turn = Turns(self.clock, Room(self.clock, self.measure))  # type: ignore[assignment]

    async def measure(self) -> FreeConnections:
        await asyncio.sleep(0)
        return FreeConnections(self.free, 20_000, 1)

    def client(self, tenant: str, device: str | None, fence: int, on_event: OnEvent) -> FakeClient:
        return SlowClient(self, device or "", on_event)

    def sessions(self, count: int) -> list[Session]:
        """Of as many tenants, all of which begin to open now."""
        jids = [f"628{number}:7@s.whatsapp.net" for number in range(count)]
        self.devices = set(jids)
        made = [Session(Lease(jid, 1, jid, False), cast("Surroundings", self)) for jid in jids]
        for session in made:
            session.open()
        return made


class SlowClient(FakeClient):
    """Takes some turns of the loop to connect."""

    def __init__(self, crowd: Crowd, device: str, on_event: OnEvent) -> None:
        super().__init__(device, on_event, [])
        self.crowd = crowd

    async def open(self) -> None:
        self.crowd.began.append(self.crowd.clock.monotonic())
        self.crowd.connecting += 1
        self.crowd.most = max(self.crowd.most, self.crowd.connecting)
        for _ in range(3):
            await asyncio.sleep(0)
        self.crowd.connecting -= 1


async def test_hundreds_of_tenants_do_not_storm(loop: asyncio.AbstractEventLoop) -> None:
    """One session of a process connects at a time, and never two within half a gap of each other, however quick
    WhatsApp answers: that bounds the logins a second. Everybody gets a turn."""
    crowd = Crowd()
    sessions = crowd.sessions(HUNDREDS)
    async with asyncio.timeout(60):
        while len(crowd.began) < HUNDREDS:
            await asyncio.sleep(0)
    assert crowd.most == 1
    gaps = [later - earlier for earlier, later in itertools.pairwise(crowd.began)]
    assert min(gaps) >= Turns.GAP / 2 - 1e-6
    assert HUNDREDS / (crowd.began[-1] - crowd.began[0]) <= 2 / Turns.GAP + 1
    for session in sessions:
        await session.close()
    assert len(crowd.began) == HUNDREDS


async def test_gaps_are_random(loop: asyncio.AbstractEventLoop) -> None:
    """Processes that were started together do not stay in step."""
    clock = SteppingClock()
    clock.uniform = Clock().uniform  # type: ignore[method-assign]
    turns, began = Turns(clock, Room(clock, Crowd().measure)), []
    for _ in range(50):
        async with turns:
            began.append(clock.at)
    gaps = {round(later - earlier, 6) for earlier, later in itertools.pairwise(began)}
    assert len(gaps) > 10
    assert min(gaps) >= Turns.GAP / 2 - 1e-6


async def test_a_turn_that_fails_or_is_left_goes_to_the_next(loop: asyncio.AbstractEventLoop) -> None:
    """An error inside, and a cancellation while waiting, cost nobody else the turn."""
    clock = SteppingClock()
    turns = Turns(clock, Room(clock, Crowd().measure))
    with pytest.raises(ZeroDivisionError):
        async with turns:
            raise ZeroDivisionError
    clock.sleep = lambda _: asyncio.Event().wait()  # type: ignore[method-assign, assignment, return-value]
    waiting = asyncio.ensure_future(turns.__aenter__())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    clock.at += 1
    async with turns:
        pass


def a_room(found: FreeConnections | Exception) -> tuple[Room, SteppingClock]:
    """A room, and its clock."""

    async def measure() -> FreeConnections:
        await asyncio.sleep(0)
        if isinstance(found, Exception):
            raise found
        return found

    clock = SteppingClock()
    return Room(clock, measure), clock


async def measured(room: Room) -> None:
    """The room knows how much there is."""
    room.take()
    for _ in range(5):
        await asyncio.sleep(0)


async def test_processes_share_what_is_free(loop: asyncio.AbstractEventLoop) -> None:
    """Some connections are kept for what comes in, and each of four processes gives out a fourth of the others."""
    room, _ = a_room(FreeConnections(free=55, total=100, processes=4))
    await measured(room)
    assert [room.take() for _ in range(12)] == [True] * 10 + [False] * 2


async def test_few_connections_keep_a_few(loop: asyncio.AbstractEventLoop) -> None:
    """A small share of a small number would be none."""
    room, _ = a_room(FreeConnections(free=KEEP_AT_LEAST, total=20, processes=1))
    await measured(room)
    assert not room.take()


async def test_what_was_given_out_long_ago_delays_nobody(loop: asyncio.AbstractEventLoop) -> None:
    """The first message after a pause does not wait for a new measurement."""
    room, clock = a_room(FreeConnections(free=55, total=100, processes=4))
    await measured(room)
    while room.take():
        pass
    clock.at += 60
    assert room.take()


async def test_a_full_database_lets_one_through_after_a_while(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody waits for ever, and the log says once what is wrong."""
    room, clock = a_room(FreeConnections(free=0, total=100, processes=1))
    await measured(room)
    begun = clock.at
    await room.wait()
    assert LONGEST <= clock.at - begun < LONGEST + 1
    assert [record.__dict__["action"] for record in caplog.records] == ["room.full"]


async def test_a_database_that_does_not_tell_holds_nobody_up(loop: asyncio.AbstractEventLoop) -> None:
    """What is wrong with it, whoever goes on will see."""
    room, clock = a_room(DatabaseUnavailable("away"))
    begun = clock.at
    for _ in range(3):
        await room.wait()
    assert clock.at - begun < LONGEST
