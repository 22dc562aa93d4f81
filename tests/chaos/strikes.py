"""What is done to the processes, and that it is done while something is in flight.

kill session process | kill gateway | kill postgres     SIGKILL
failpoint                                               armed for whoever gets there first
stop session process | stop machine                     SIGSTOP for longer than a lease, then SIGCONT
restart postgres                                        a fast shutdown; it comes back by itself
drop sockets                                            WhatsApp cuts a tenant's connection
cut database | stall database                           the second machine cannot reach PostgreSQL
leave                                                   SIGTERM to a gateway
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

import aiohttp
import psycopg2

from tests.chaos.facts import Blow
from tests.chaos.machines import signalled, stand_still
from tests.chaos.plan import AT_GATEWAYS
from tests.wire.failpoints import arm

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.chaos.plan import Plan, Strike
    from tests.chaos.stage import Stage
    from tests.chaos.traffic import Callers

# What a process that stands still has in hand does not count. A take-over that other strikes disturb may last half a
# minute, in which nobody gets anywhere.
IN_FLIGHT_WITHIN = STRUCK_WITHIN = 60.0
_LOOK = 0.02
AT_ONCE = 2.0
"""Seconds after a SIGKILL in which the sandbox, on a busy machine, sees that the process's connections have ended."""
_IN_FLIGHT = """
  SELECT (SELECT count(*) FROM messages
           WHERE status = 'sending' AND claimed_at > clock_timestamp() - interval '3 seconds')
       + (SELECT count(*) FROM incoming_messages
           WHERE dispatched_at IS NULL AND received_at > clock_timestamp() - interval '3 seconds')
"""


class Striker:
    """Strikes; `done` are those that found something in flight and hit."""

    def __init__(self, stage: Stage, plan: Plan, callers: Callers) -> None:
        self.done: list[Strike] = []
        self.missed: list[Strike] = []
        self.kills: list[float] = []
        """When SIGKILLs struck, in seconds since 1970."""
        self.blows: list[Blow] = []
        self._stage, self._plan, self._callers = stage, plan, callers
        self._lasting: set[asyncio.Task[object]] = set()
        self._by_kind: dict[str, Callable[[Strike], Awaitable[bool]]] = {
            "kill session process": self._kill_session_process,
            "kill gateway": self._kill_gateway,
            "kill postgres": self._end_postgres,
            "restart postgres": self._end_postgres,
            "stop session process": self._stop_session_process,
            "stop machine": self._stop_machine,
            "drop sockets": self._drop_sockets,
            "cut database": self._cut,
            "stall database": self._stall,
            "leave": self._leave,
        }

    async def strike(self, strike: Strike, feed: Callable[[], None]) -> bool:
        """Whether it hit, with something in flight; `feed` brings that. Whoever gets to a failpoint has something in
        flight, so that is armed first."""
        if strike.kind == "failpoint":
            hit = await self._failpoint(strike, feed)
        else:
            feed()
            hit = await self._until_in_flight(strike.after)
            if hit:
                self._blow(strike, takes=_takes(strike))
                hit = await self._by_kind[strike.kind](strike)
        (self.done if hit else self.missed).append(strike)
        if hit and strike.kills:
            self.kills.append(self.blows[-1].at)
        return hit

    def _blow(self, strike: Strike, at: float | None = None, *, takes: float = 0.0) -> None:
        self.blows.append(Blow(time.time() if at is None else at, strike.name, takes))

    async def finish(self) -> None:
        """Until everything that lasts is over."""
        await asyncio.gather(*self._lasting)

    def in_flight(self) -> bool:
        """Whether a message is on its way out or in."""
        try:
            return bool(self._stage.query(_IN_FLIGHT)[0][0])
        except psycopg2.Error:
            return False

    async def _until_in_flight(self, after: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IN_FLIGHT_WITHIN):
                while True:
                    while not self.in_flight():
                        await asyncio.sleep(_LOOK)
                    await asyncio.sleep(after)
                    if self.in_flight():
                        return True
        return False

    def _last(self, work: Awaitable[object]) -> None:
        """Go on while this lasts."""
        task = asyncio.ensure_future(work)
        self._lasting.add(task)
        task.add_done_callback(self._lasting.discard)

    def _a_session_process(self, strike: Strike) -> int | None:
        """Of the strike's machine if it has any."""
        machines = self._stage.machines
        for machine in (machines[strike.machine], *machines):
            if pids := machine.session_processes():
                return pids[int(strike.pick * len(pids))]
        return None

    async def _kill_session_process(self, strike: Strike) -> bool:
        pid = self._a_session_process(strike)
        return pid is not None and signalled(pid, signal.SIGKILL)

    async def _stop_session_process(self, strike: Strike) -> bool:
        pid = self._a_session_process(strike)
        if pid is not None:
            self._last(stand_still([pid], strike.lasts))
        return pid is not None

    async def _kill_gateway(self, strike: Strike) -> bool:
        machines = self._stage.machines
        return any(machine.kill(strike.lasts / 4) for machine in (machines[strike.machine], *machines))

    async def _leave(self, strike: Strike) -> bool:
        machines = self._stage.machines
        return any(machine.leave(strike.lasts / 4) for machine in (machines[strike.machine], *machines))

    async def _stop_machine(self, strike: Strike) -> bool:
        machine = self._stage.machines[strike.machine]
        if machine.pid is not None:
            self._last(machine.stand_still(strike.lasts))
        return machine.pid is not None

    async def _end_postgres(self, strike: Strike) -> bool:
        """It is brought back by its supervisor, in this process."""
        pid = self._stage.postgres.pid
        sign = signal.SIGKILL if strike.kills else signal.SIGINT
        return pid is not None and signalled(pid, sign)

    async def _drop_sockets(self, strike: Strike) -> bool:
        with contextlib.suppress(psycopg2.Error, aiohttp.ClientResponseError):  # it has no connection any more
            connected = self._stage.query("SELECT tenant_id FROM sessions WHERE state = 'connected' ORDER BY 1")
            if connected:
                tenant = connected[int(strike.pick * len(connected))][0]
                await self._stage.ask_sandbox("POST", f"/accounts/{self._plan.tenants[tenant]}/drop")
                return True
        return False

    async def _cut(self, strike: Strike) -> bool:
        self._last(self._stage.wire.cut(strike.lasts))
        return True

    async def _stall(self, strike: Strike) -> bool:
        self._last(self._stage.wire.stall(strike.lasts))
        return True

    # Failpoints

    async def _failpoint(self, strike: Strike, feed: Callable[[], None]) -> bool:
        """Arm it, see to it that somebody gets there, and wait until somebody was struck."""
        points = self._stage.points
        before = set(points.glob(f"{strike.point}.*"))
        armed = arm(points, strike.point, strike.action)
        feed()
        await self._lead_to(strike)
        try:
            async with asyncio.timeout(STRUCK_WITHIN):
                while armed.exists():
                    await asyncio.sleep(_LOOK)
        except TimeoutError:
            armed.unlink(missing_ok=True)
            return False
        for struck in set(points.glob(f"{strike.point}.*")) - before:
            self._blow(strike, struck.stat().st_ctime, takes=_takes(strike))
            if strike.action == "stop":
                self._last(self._wake(int(struck.suffix[1:]), strike.lasts))
        for struck in points.glob(f"{strike.point}.*"):
            struck.unlink()
        return True

    async def _lead_to(self, strike: Strike) -> None:
        """Leases are taken and given back only when somebody comes or goes."""
        if strike.point == "leased":
            self._blow(strike, takes=AT_ONCE)
            await self._kill_session_process(strike)
        elif strike.point == "released":
            self._blow(strike)
            await self._leave(strike)

    @staticmethod
    async def _wake(pid: int, after: float) -> None:
        await asyncio.sleep(after)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _takes(strike: Strike) -> float:
    at_point = strike.action == "kill" and strike.point not in AT_GATEWAYS
    return AT_ONCE if at_point or strike.kind == "kill session process" else 0.0
