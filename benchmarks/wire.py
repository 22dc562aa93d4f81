"""How long a message takes to a phone, and how well promised times are kept: the real client, a WhatsApp on loopback.

A time is taken where it matters: on the phone, when it has decrypted the message. So the sandbox's own work, and that
of the caller, who is this same process, belong to every figure.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.table import Table

from benchmarks.promises import Judged, Promise
from benchmarks.report import promised, promises_as_json, show_verdict
from benchmarks.wire_town import Tenant, running

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from benchmarks.wire_town import WireTown
    from sandbox import Phone

WARM_UP, MESSAGES = 10, 200
PACED_EACH = 7
"""Messages that each paced tenant is given at once; the first goes at once, the last after half a minute at most."""

QUICK = Tenant("quick", "628110000000", (0, 0))
PACED = tuple(Tenant(f"paced{n}", f"62811000000{n}", (2, 5)) for n in range(1, 6))

_ARRIVED_WITHIN = 90.0


@dataclass(frozen=True, slots=True)
class Latencies:
    """Milliseconds."""

    p50: float
    p99: float
    worst: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latencies:
        """Nearest rank: of few measurements the 99th percentile is the worst."""
        ordered = sorted(seconds)
        return cls(*(1000 * ordered[max(math.ceil(q * len(ordered)) - 1, 0)] for q in (0.5, 0.99, 1)))


@dataclass(frozen=True, slots=True)
class Wire:
    """`latency`: from the POST to the phone, one message after another; `per_second`: messages that arrive when all are
    posted at once; `lateness`: of `paced` paced messages, how far from the promised time they arrived, early or late;
    `load`: the machine's load average before and after."""

    latency: Latencies
    per_second: float
    lateness: Latencies
    paced: int
    load: tuple[float, float]
    seconds: float
    wrong: tuple[str, ...] = ()

    @property
    def kept(self) -> bool:
        """Whether all is well."""
        return not self.wrong and all(one.kept for one in judged(self))


PROMISES: tuple[Promise[Wire], ...] = (
    Promise("POST to phone, unpaced, the median", "ms", 60.0, lambda wire: wire.latency.p50, below=True),
    Promise("paced, off the promised time, 99th percentile", "ms", 250.0, lambda wire: wire.lateness.p99, below=True),
)


def judged(wire: Wire) -> list[Judged]:
    """Every promise; it is measured once, so that there is no spread."""
    return [Judged(promise, *[promise.figure(wire)] * 3) for promise in PROMISES]


def measure(tell: Callable[[str], None]) -> Wire:
    """About a minute. RuntimeError when something does not start or is not accepted."""
    return asyncio.run(_measure(tell))


async def _measure(tell: Callable[[str], None]) -> Wire:
    begun, load = time.monotonic(), os.getloadavg()[0]
    async with running((QUICK, *PACED), tell) as town:
        budi, carol = town.sandbox.phone("628120000001", "Budi"), town.sandbox.phone("628120000002", "Carol")
        tell(f"wire: {MESSAGES} messages one after another")
        latencies = [await _one(town, budi, f"{number}") for number in range(WARM_UP + MESSAGES)]
        tell(f"wire: {MESSAGES} messages at once")
        per_second = await _at_once(town, carol)
        tell(f"wire: {len(PACED)} tenants with a gap of 2 to 5 s")
        offs = await asyncio.gather(*(_paced(town, tenant, number) for number, tenant in enumerate(PACED)))
        wrong = _wrong(town, {budi: WARM_UP + MESSAGES, carol: MESSAGES})
    return Wire(
        latency=Latencies.of(latencies[WARM_UP:]),
        per_second=per_second,
        lateness=Latencies.of([off for each in offs for off in each]),
        paced=sum(map(len, offs)),
        load=(load, os.getloadavg()[0]),
        seconds=time.monotonic() - begun,
        wrong=wrong,
    )


async def _one(town: WireTown, phone: Phone, text: str) -> float:
    begun = time.time()
    await town.send(QUICK.name, phone.number, text)
    return (await phone.next(_ARRIVED_WITHIN)).at.timestamp() - begun


async def _at_once(town: WireTown, phone: Phone) -> float:
    begun = time.time()
    await asyncio.gather(*(town.send(QUICK.name, phone.number, f"{number}") for number in range(MESSAGES)))
    arrived = [await phone.next(_ARRIVED_WITHIN) for _ in range(MESSAGES)]
    return MESSAGES / (arrived[-1].at.timestamp() - begun)


async def _paced(town: WireTown, tenant: Tenant, place: int) -> list[float]:
    """Seconds between the promised time and the arrival, of each message: each to a phone of its own."""
    phones = [town.sandbox.phone(f"62813{place:02}{number:05}") for number in range(PACED_EACH)]
    promises = [(await town.send(tenant.name, phone.number, "halo"))["expected_at"] for phone in phones]
    arrivals = [(await phone.next(_ARRIVED_WITHIN)).at for phone in phones]
    return [
        abs((at - datetime.fromisoformat(promise)).total_seconds()) if promise else math.inf
        for at, promise in zip(arrivals, promises, strict=True)
    ]


def _wrong(town: WireTown, expected: dict[Phone, int]) -> tuple[str, ...]:
    """What is missing, came twice, or was not understood."""
    wrong = [f"the sandbox did not understand: {what}" for what in (*town.sandbox.unhandled, *town.sandbox.errors)]
    for phone, count in expected.items():
        if sorted((got.text for got in phone.received), key=int) != [f"{number}" for number in range(count)]:
            wrong.append(f"{phone.name} has {len(phone.received)} messages in place of {count}, or other ones")
    return tuple(wrong)


def as_json(wire: Wire) -> dict[str, Any]:
    """Every figure."""
    return {"kept": wire.kept, "promises": promises_as_json(judged(wire)), **asdict(wire)}


def show(wire: Wire, console: Console) -> None:
    """Two tables, the conditions, the verdict."""
    table = Table(title="Measured on the wire: milliseconds until it is on the phone")
    for heading in ("", "p50", "p99", "worst"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    rows = ((f"{MESSAGES} one after another", wire.latency), (f"{wire.paced} paced, off the promise", wire.lateness))
    for name, figures in rows:
        table.add_row(name, *(f"{figure:,.1f}" for figure in (figures.p50, figures.p99, figures.worst)))
    console.print(table, promised(judged(wire)))
    console.print(
        f"{MESSAGES} posted at once arrive at {wire.per_second:,.0f} a second; load average {wire.load[0]:.1f} before,"
        f" {wire.load[1]:.1f} after; all of it took {wire.seconds:.0f} s",
        highlight=False,
    )
    show_verdict(wire.wrong, wire.kept, console)
