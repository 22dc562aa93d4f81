"""Workloads, and the rounds in which they take turns, so that whatever else the machine does meets them all."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from benchmarks.load import ACCEPTED, Job, Measured
from benchmarks.processes import cpu_seconds, cpu_seconds_below, cpu_seconds_of_all
from benchmarks.servers import ROOT, TENANT
from db.database import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.servers import Server, Servers

CONNECTIONS = 128
WARM_UP = 0.5
"""Seconds of every run that are not measured."""
_SETTLE = 0.2
"""Seconds between two runs, in which PostgreSQL ends what the last one left it."""
_OVERHEAD = 60.0
"""Seconds that a run may take beyond its own before it is given up."""


@dataclass(frozen=True, slots=True)
class Workload:
    """`server` is the attribute of `Servers`; `rate` requests a second, None: closed loop; `keyed`: each request has
    an idempotency key of its own; `stretch`: how many times as long as the others it is measured."""

    name: str
    server: str
    recipients: int = 20_000
    rate: float | None = None
    keyed: bool = False
    stretch: float = 1.0


BARE = Workload("bare aiohttp", "bare")
SPREAD = Workload("gateway", "gateway")
HOT = Workload("gateway, one number", "gateway", recipients=1)
KEYED = Workload("gateway, idempotency keys", "gateway", keyed=True)
NAIVE = Workload("six round trips", "naive")
PACED = Workload("gateway, open loop 1,000/s", "gateway", rate=1000.0, stretch=2.0)


@dataclass(frozen=True, slots=True)
class Run:
    """One workload once. CPU in microseconds per request: of the server's process, and of all of PostgreSQL's.
    `others` is how many processors programs that have nothing to do with it kept busy meanwhile."""

    load: Measured
    server_cpu: float
    postgres_cpu: float
    others: float

    @property
    def accepted(self) -> int:
        """Answers that were 202, before, during and after the measured time."""
        return self.load.statuses.get(ACCEPTED, 0)

    @property
    def refused(self) -> int:
        """Answers that were anything else."""
        return sum(self.load.statuses.values()) - self.accepted


Round = dict[Workload, Run]


def measure(
    servers: Servers, workloads: Sequence[Workload], rounds: int, seconds: float, tell: Callable[[str], None]
) -> list[Round]:
    """Every workload once in every round. The first of the rounds returned is an additional, short one that fills
    caches and plans; it is not to be counted."""
    measured: list[Round] = []
    for number in range(rounds + 1):
        measured.append({})
        for workload in workloads:
            tell(f"round {number} of {rounds}: {workload.name}" if number else f"warming up: {workload.name}")
            length = seconds * workload.stretch if number else 0.5
            measured[-1][workload] = _run(servers, workload, length, f"r{number}")
    return measured


def _run(servers: Servers, workload: Workload, seconds: float, keys: str) -> Run:
    server: Server = getattr(servers, workload.server)
    job = Job(
        port=server.port,
        api_key=servers.api_key,
        recipients=workload.recipients,
        seconds=seconds,
        warm_up=WARM_UP,
        connections=CONNECTIONS,
        rate=workload.rate,
        keys=keys if workload.keyed else None,
    )
    time.sleep(_SETTLE)
    begun, before = time.monotonic(), _spent(servers, server)
    load = generate(job)
    server_cpu, postgres_cpu, here, everybody = (
        end - begin for begin, end in zip(before, _spent(servers, server), strict=True)
    )
    answers = sum(load.statuses.values())
    return Run(
        load=load,
        server_cpu=server_cpu / answers * 1e6,
        postgres_cpu=postgres_cpu / answers * 1e6,
        others=(everybody - server_cpu - postgres_cpu - here) / (time.monotonic() - begun),
    )


def _spent(servers: Servers, server: Server) -> tuple[float, float, float, float]:
    """Processor seconds so far: of the server, of PostgreSQL, of this program with its load generators, of all."""
    here = sum(os.times()[:4])
    return cpu_seconds(server.pid), cpu_seconds_below(servers.gateway.pid), here, cpu_seconds_of_all()


def generate(job: Job) -> Measured:
    """Run the load generator. RuntimeError with its words when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        cwd=ROOT,
        input=msgspec.json.encode(job),
        capture_output=True,
        timeout=job.warm_up + job.seconds + _OVERHEAD,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the load generator failed:\n{done.stderr.decode(errors='replace')}")
    return msgspec.json.decode(done.stdout, type=Measured)


def stored(servers: Servers) -> tuple[int, int]:
    """(messages of the gateway in the database, what its daily limits counted)."""
    return asyncio.run(_stored(servers.database_url))


async def _stored(url: str) -> tuple[int, int]:
    database = await Database.open(url, size=1, statement_timeout=60)
    try:
        row = await database.fetch_one(
            "SELECT (SELECT count(*) FROM messages WHERE tenant_id = %s),"
            " (SELECT coalesce(sum(count), 0) FROM daily_limits WHERE tenant_id = %s)::bigint",
            (TENANT, TENANT),
        )
    finally:
        await database.close()
    assert row is not None
    return row[0], row[1]
