"""The load generator: a program of its own that reads one Job as JSON on stdin and writes one Measured on stdout.

Closed loop (`rate` is null): every connection sends its next request when it has its answer; the figure is answers a
second. Open loop: request i is meant for the moment start + i / rate, whether or not earlier ones are answered, and its
latency runs from that moment, also when it had to wait for a free connection or this program was late: nothing that
goes slowly can hide by slowing the questions down.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import time
from array import array
from collections import Counter, deque

import msgspec

from benchmarks.http_client import Connection

ACCEPTED = 202
_LAST_ANSWERS = 10.0
"""Seconds to wait for the answers to the last requests."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to send where: to any of so many `recipients`, for `warm_up` + `seconds` seconds, of which only the latter
    are measured. `rate`: requests a second, null for a closed loop; `keys`: the beginning of idempotency keys, null for
    none."""

    port: int
    api_key: str
    recipients: int
    seconds: float
    warm_up: float
    connections: int
    rate: float | None = None
    keys: str | None = None


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. `statuses` counts all answers, those of the warm-up too; `per_second` the accepted ones of the
    measured time; latencies are milliseconds; `cpu` is this program's share of one core."""

    statuses: dict[int, int]
    per_second: float
    p50: float
    p99: float
    p999: float
    worst: float
    cpu: float


class Requests:
    """Whole requests, built beforehand but for the idempotency key."""

    def __init__(self, job: Job) -> None:
        numbers = [b"62812%08d" % (30_000_000 + i) for i in range(job.recipients)]
        keyed = b',"client_ref":"%s-' % job.keys.encode() if job.keys is not None else b""
        tail = len(b'00000000"}') if keyed else len(b"}")
        head = (
            b"POST /api/send-message HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-API-Key: %s\r\n"
            b"Content-Type: application/json\r\nContent-Length: " % (job.port, job.api_key.encode())
        )
        bodies = [b'{"number":"%s","message":"Your order has left our house."%s' % (n, keyed) for n in numbers]
        self._requests = [b"%s%d\r\n\r\n%s" % (head, len(body) + tail, body) for body in bodies]
        self._keyed, self._count, self._random = bool(keyed), 0, random.Random(1).random

    def next(self) -> bytes:
        """The next one, to any of the numbers; every run draws the same ones."""
        self._count += 1
        request = self._requests[int(self._random() * len(self._requests))]
        return b'%s%08d"}' % (request, self._count) if self._keyed else request + b"}"


class Load:
    """One run against one server."""

    def __init__(self, job: Job) -> None:
        self._job, self._requests = job, Requests(job)
        self._loop = asyncio.get_running_loop()
        self._statuses: Counter[int] = Counter()
        self._latencies = array("d")
        self._in_time = 0
        self._begin = self._end = 0.0
        self._free: deque[Connection] = deque()
        self._late: deque[float] = deque()
        self._under_way = 0
        self._to_send = job.rate is not None  # an open loop that lags behind has more to send, though all is answered
        self._finished: asyncio.Future[None] = self._loop.create_future()

    async def run(self) -> Measured:
        """Send, and wait for every answer. ConnectionError when the server does not answer them all."""
        job = self._job
        for _ in range(job.connections):
            connection = Connection(self._answered, self._lost)
            await connection.connect("127.0.0.1", job.port)
            self._free.append(connection)
        gc.collect()
        gc.freeze()
        self._begin = self._loop.time() + job.warm_up
        self._end = self._begin + job.seconds
        cpu = time.process_time()
        await (self._closed_loop() if job.rate is None else self._open_loop(job.rate))
        async with asyncio.timeout(_LAST_ANSWERS):
            await self._finished
        cpu = (time.process_time() - cpu) / (job.warm_up + job.seconds)
        for connection in self._free:
            connection.close()
        return self._measured(cpu)

    async def _closed_loop(self) -> None:
        while self._free:
            self._send(self._free.popleft(), self._loop.time())
        await asyncio.sleep(self._end - self._loop.time())

    async def _open_loop(self, rate: float) -> None:
        start = self._loop.time()
        for number in range(int((self._end - start) * rate)):
            meant_for = start + number / rate
            if (pause := meant_for - self._loop.time()) > 0:
                await asyncio.sleep(pause)
            if self._free:
                self._send(self._free.popleft(), meant_for)
            else:
                self._late.append(meant_for)
        await asyncio.sleep(max(self._end - self._loop.time(), 0))
        self._to_send = False
        self._finish_when_answered()

    def _send(self, connection: Connection, meant_for: float) -> None:
        connection.sent_for = meant_for
        self._under_way += 1
        connection.send(self._requests.next())

    def _answered(self, connection: Connection, status: int) -> None:
        now = self._loop.time()
        self._statuses[status] += 1
        self._under_way -= 1
        if connection.sent_for >= self._begin:
            self._latencies.append(now - connection.sent_for)
        if self._begin <= now < self._end:
            self._in_time += status == ACCEPTED
        if self._late:
            self._send(connection, self._late.popleft())
        elif self._job.rate is None and now < self._end:
            self._send(connection, now)
        else:
            self._free.append(connection)
            self._finish_when_answered()

    def _finish_when_answered(self) -> None:
        everything = not (self._under_way or self._late or self._to_send)
        if everything and self._loop.time() >= self._end and not self._finished.done():
            self._finished.set_result(None)

    def _lost(self, why: str) -> None:
        if not self._finished.done():
            self._finished.set_exception(ConnectionError(why))

    def _measured(self, cpu: float) -> Measured:
        ordered = sorted(self._latencies)
        p50, p99, p999, worst = (1000 * ordered[int(q * (len(ordered) - 1))] for q in (0.5, 0.99, 0.999, 1))
        per_second = self._in_time / self._job.seconds
        return Measured(
            statuses=dict(self._statuses), per_second=per_second, p50=p50, p99=p99, p999=p999, worst=worst, cpu=cpu
        )


async def measure(job: Job) -> Measured:
    """The whole run."""
    return await Load(job).run()


if __name__ == "__main__":
    done = asyncio.run(measure(msgspec.json.decode(sys.stdin.buffer.read(), type=Job)))
    sys.stdout.buffer.write(msgspec.json.encode(done))
