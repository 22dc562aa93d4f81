"""Whether 200 linked tenants fit on a PostgreSQL with 100 connections, all of them reachable, and what they take.

The real client, a WhatsApp on loopback. First a gateway with one tenant, for the difference; then one with all. They
connect, lie idle, and are then all sent to at once; every phone answers.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

from benchmarks.processes import children, resident_megabytes, threads
from benchmarks.promises import Judged, Promise
from benchmarks.report import promised, promises_as_json, show_verdict
from benchmarks.sessions_town import LIBRARY, Connections, built
from core.settings import SessionSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from benchmarks.sessions_town import SessionsTown

SESSIONS, MAX_CONNECTIONS, PER_PROCESS = 200, 100, 50

_WITHIN = 300.0
"""Seconds that anything may take."""

_LOOK = 0.1
_CONNECTED = "SELECT count(*) FROM sessions WHERE state = 'connected' AND process IN (SELECT live_processes())"
_HELD = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{LIBRARY}'"


@dataclass(frozen=True, slots=True)
class Processes:
    """The session processes together. `memory`: megabytes, shared pages counted in each."""

    count: int
    memory: float
    threads: int


@dataclass(frozen=True, slots=True)
class Sessions:
    """`alone` and `idle`: the session processes with one session, and with all, none of which does anything.
    `connected_in`, `answered_in`: seconds until all were connected, and until each was sent to and its answer was here.
    Connections to PostgreSQL, at most: while they `connecting`, `held` by sessions when idle, and while all were
    `busy`. `refused`: how often there was none left."""

    sessions: int
    max_connections: int
    alone: Processes
    idle: Processes
    connected_in: float
    answered_in: float
    connecting: int
    held: int
    busy: int
    refused: int
    load: tuple[float, float]
    wrong: tuple[str, ...] = ()

    @property
    def per_session(self) -> float:
        """Megabytes of a session more."""
        processes_alone = self.alone.memory * self.idle.count / self.alone.count
        return (self.idle.memory - processes_alone) / max(self.sessions - self.idle.count, 1)

    @property
    def kept(self) -> bool:
        """Whether all is well."""
        return not self.wrong and all(one.kept for one in judged(self))


PROMISES: tuple[Promise[Sessions], ...] = (
    Promise("connections to PostgreSQL that idle sessions hold", "", 1.0, lambda found: found.held, below=True),
    Promise("connections that PostgreSQL had to refuse", "", 1.0, lambda found: found.refused, below=True),
    Promise("memory of one idle session more", "MB", 1.0, lambda found: found.per_session, below=True),
)


def judged(found: Sessions) -> list[Judged]:
    """Every promise; it is measured once, so that there is no spread."""
    return [Judged(promise, *[promise.figure(found)] * 3) for promise in PROMISES]


def measure(tell: Callable[[str], None]) -> Sessions:
    """Some minutes. TimeoutError or RuntimeError when something does not happen."""
    return asyncio.run(measured(tell, SESSIONS, MAX_CONNECTIONS, PER_PROCESS))


async def measured(
    tell: Callable[[str], None],
    sessions: int,
    max_connections: int,
    per_process: int,
    keep_connections: float = SessionSettings().keep_connections,
) -> Sessions:
    """The same with other numbers."""
    load = os.getloadavg()[0]
    async with built(max_connections, per_process, keep_connections) as town:
        tell("sessions: a gateway with one")
        alone = await _alone(town)
        tell(f"sessions: linking {sessions - 1} more")
        await town.link(sessions - 1)
        with Connections(town.url).watched() as connections:
            async with asyncio.timeout(_WITHIN), town.gateway() as server:
                tell("sessions: connecting")
                begun = time.monotonic()
                await _until(lambda: town.count(_CONNECTED) == sessions)
                connected_in, connecting = time.monotonic() - begun, connections.most["all"]
                tell("sessions: until they are idle")
                await _until(lambda: town.count(_HELD) == 0)
                idle, held = _processes(server.pid), await _most_held(connections)
                tell("sessions: a message to each and an answer from each")
                answered_in = await _everybody(town, lambda tenant: town.send(server, tenant))
        return Sessions(
            sessions, max_connections, alone, idle, connected_in, answered_in,
            connecting, held, connections.most["all"], town.refused(), (load, os.getloadavg()[0]), _wrong(town),
        )  # fmt: skip


async def _alone(town: SessionsTown) -> Processes:
    """What the first session takes. Its gateway makes the library's tables, too."""
    await town.link(1)
    async with asyncio.timeout(_WITHIN), town.gateway() as server:
        await _until(lambda: town.count(_CONNECTED) == 1)
        await _until(lambda: town.count(_HELD) == 0)
        return _processes(server.pid)


async def _until(true: Callable[[], bool]) -> None:
    while True:
        if await asyncio.to_thread(true):
            return
        await asyncio.sleep(_LOOK)


def _processes(gateway: int) -> Processes:
    found = children(gateway)
    return Processes(len(found), sum(map(resident_megabytes, found)), sum(map(threads, found)))


async def _most_held(connections: Connections) -> int:
    """The most that sessions hold in some seconds of doing nothing. On a busy machine the last of their beginning may
    come only then: they are given time for that twice."""
    for _ in range(3):
        connections.reset()
        await asyncio.sleep(5)
        if not (held := connections.most[LIBRARY]):
            break
    return held


async def _everybody(town: SessionsTown, send: Callable[[str], Any]) -> float:
    """Seconds until every tenant's message has arrived and every phone's answer is here."""
    begun = time.monotonic()

    async def one(tenant: str, number: str) -> None:
        await send(tenant)
        await town.phone_of(tenant).next(_WITHIN)
        await town.phone_of(tenant).send(number, f"from {tenant}")

    async with asyncio.TaskGroup() as group:
        for tenant, number in town.linked.items():
            group.create_task(one(tenant, number))
    await _until(lambda: town.count("SELECT count(*) FROM incoming_messages") >= len(town.linked))
    return time.monotonic() - begun


def _wrong(town: SessionsTown) -> tuple[str, ...]:
    """What is missing, came twice, is another's, or was not understood."""
    wrong = [f"the sandbox did not understand: {what}" for what in (*town.sandbox.unhandled, *town.sandbox.errors)]
    for tenant in town.linked:
        if (texts := [got.text for got in town.phone_of(tenant).received]) != [f"to {tenant}"]:
            wrong.append(f"the phone of {tenant} has {texts}")
    came = town.query("SELECT tenant_id, content FROM incoming_messages ORDER BY 1")
    if came != [(tenant, f"from {tenant}") for tenant in sorted(town.linked)]:
        wrong.append(f"{len(came)} messages came in for {len(town.linked)} tenants, or other ones")
    return tuple(wrong)


def as_json(found: Sessions) -> dict[str, Any]:
    """Every figure."""
    return {"kept": found.kept, "promises": promises_as_json(judged(found)), **asdict(found)}


def show(found: Sessions, console: Console) -> None:
    """Two tables, the conditions, the verdict."""
    table = Table(title=f"{found.sessions} sessions on {found.max_connections} connections to PostgreSQL")
    for heading in ("", "processes", "memory MB", "threads", "most connections", "seconds"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for name, processes, connections, seconds in (
        ("one session, idle", found.alone, "", ""),
        ("all, connecting", None, f"{found.connecting}", f"{found.connected_in:.1f}"),
        ("all, idle", found.idle, f"{found.held} of sessions", ""),
        ("all, sent to and answering at once", None, f"{found.busy}", f"{found.answered_in:.1f}"),
    ):
        figures = (f"{processes.count}", f"{processes.memory:.0f}", f"{processes.threads}") if processes else ("",) * 3
        table.add_row(name, *figures, connections, seconds)
    console.print(table, promised(judged(found)))
    console.print(f"load average {found.load[0]:.1f} before, {found.load[1]:.1f} after", highlight=False)
    show_verdict(found.wrong, found.kept, console)
