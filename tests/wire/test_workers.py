"""A gateway and a worker, each with a GAPURA_DATA of its own, and one PostgreSQL: two machines."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from typing import TYPE_CHECKING

from tests.wire.processes import is_running, session_processes
from tests.wire.town import until

if TYPE_CHECKING:
    from tests.service.gateway_process import GatewayProcess
    from tests.wire.town import Town

NUMBERS = {f"t{number}": f"62811111111{number}" for number in range(4)}
BUDI = "628222222222"

SHARED_WITHIN = 150.0
"""Seconds for everybody to have their share. On a busy machine a worker may start its session process so late that what
it was to take is taken back; then there is peace for half a minute."""

TAKE_OVER = 15.0
"""Seconds in which the sessions of a machine that died are connected again."""


def holders(town: Town) -> dict[int, set[str]]:
    """Session process -> whom it holds, all connected."""
    held: dict[int, set[str]] = {}
    for process, tenant, state in town.query("SELECT process, tenant_id, state FROM sessions"):
        if process is None or state != "connected":
            return {}
        held.setdefault(process, set()).add(tenant)
    return held


async def until_shared(town: Town, *sizes: int) -> None:
    """Wait until everybody is connected, in processes that hold so many."""
    deadline = time.monotonic() + SHARED_WITHIN
    while sorted(map(len, holders(town).values())) != sorted(sizes):
        assert time.monotonic() < deadline, holders(town)
        await asyncio.sleep(0.2)


async def connected_by(process: GatewayProcess) -> str:
    """Who was connected there last. The log may come after the state that it tells of."""
    return str((await until(lambda: re.findall(r"(t\d) is connected as", process.stderr), bool))[-1])


async def started(town: Town) -> GatewayProcess:
    """A gateway that holds everybody."""
    for tenant in NUMBERS:
        await town.add(tenant)
    gateway = await town.serve()
    for tenant, number in NUMBERS.items():
        await town.pair(tenant, number)
    return gateway


async def talk(town: Town, round_: str) -> None:
    """A message out and one in for each tenant; each arrives once."""
    budi = town.sandbox.phone(BUDI, "Budi")
    before = len(budi.received)
    for tenant, number in NUMBERS.items():
        await town.send(tenant, BUDI, f"{round_} from {tenant}", wait=30)
        await budi.send(number, f"{round_} to {tenant}")
    expected = [(tenant, f"{round_} to {tenant}") for tenant in NUMBERS]
    rows = "SELECT tenant_id, content FROM incoming_messages WHERE content LIKE %s ORDER BY 1"
    await until(lambda: town.query(rows, f"{round_} %"), lambda found: found == expected)
    texts = [f"{round_} from {tenant}" for tenant in NUMBERS]
    await until(lambda: sorted(message.text for message in budi.received[before:]), lambda found: found == texts)


async def test_two_machines_share_the_sessions(town: Town) -> None:
    """Who joins is handed its share; calls reach the tenant wherever it is; when the worker's machine dies the gateway
    has everybody connected in less than fifteen seconds."""
    await started(town)
    worker = await town.work()
    await until_shared(town, 2, 2)
    await town.session_process()
    assert len(session_processes(worker.pid)) == 1
    await talk(town, "shared")

    there = await connected_by(worker)
    since, before = (await town.state(there))["since"], worker.stderr.count(f"{there} is connected as")
    assert (await town.ask(there, "POST", "/api/reconnect"))[0] == 200
    await until(lambda: town.state(there), lambda now: now["state"] == "connected" and now["since"] != since)
    await until(lambda: worker.stderr.count(f"{there} is connected as"), lambda count: count > before)

    killed = [worker.pid, *session_processes(worker.pid)]
    begun = time.monotonic()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    await until_shared(town, 4)
    assert time.monotonic() - begun < TAKE_OVER
    worker.kill()
    await talk(town, "taken over")


async def test_a_worker_comes_and_goes(town: Town) -> None:
    """It has its share, again and again; told to stop, it hands everything over, and calls go where the session is."""
    await started(town)
    for round_ in ("first", "second"):
        worker = await town.work()
        await until_shared(town, 2, 2)
        await talk(town, round_)
        processes = session_processes(worker.pid)
        there = await connected_by(worker)
        assert await asyncio.to_thread(worker.stop) == 0
        assert worker.stdout == "gapura worker ready\n"
        assert [pid for pid in processes if is_running(pid)] == []
        await until_shared(town, 4)
    assert (await town.ask(there, "POST", "/api/logout"))[0] == 200
    await town.until_state(there, "logged_out")


async def test_a_worker_logs_out_and_pairs_for_the_gateway(town: Town) -> None:
    """With the gateway's own session process standing still, whoever is asked at the gateway is served by the worker;
    what the standing process holds is answered in time with a refusal that says so."""
    town.installation.write("service.yaml", "sessions: {stuck_after: 300}\n")
    for tenant in ("t0", "t1"):
        await town.add(tenant)
    gateway = await town.serve()
    await town.pair("t0", NUMBERS["t0"])
    await town.pair("t1", NUMBERS["t1"])
    worker = await town.work()
    await until_shared(town, 1, 1)
    there = await connected_by(worker)
    assert (await town.ask(there, "POST", "/api/logout"))[0] == 200
    await town.until_state(there, "logged_out")
    assert town.sandbox.devices(NUMBERS[there]) == []
    town.query("UPDATE sessions SET asked_at = NULL")
    await town.pair(there, NUMBERS[there])

    [here] = set(NUMBERS) & {"t0", "t1"} - {there}
    for pid in session_processes(gateway.pid):
        os.kill(pid, signal.SIGSTOP)
    status, problem = await town.ask(here, "POST", "/api/reconnect")
    assert (status, problem["code"]) == (503, "no_session_process")
    for pid in session_processes(gateway.pid):
        os.kill(pid, signal.SIGCONT)
