"""The benchmarks measure what they say: the load generator's arithmetic and what is made of its figures. No timing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from benchmarks import mirror, wire
from benchmarks.__main__ import faults, main
from benchmarks.http_client import Connection, size_of_answer
from benchmarks.load import Job, Measured, Requests
from benchmarks.measuring import BARE, HOT, NAIVE, PACED, SPREAD, Round, Run, Workload
from benchmarks.promises import BENCHMARKS, chosen, judge, workloads_of
from benchmarks.report import Conditions, Report, as_json
from benchmarks.sessions import Processes, Sessions
from benchmarks.wire import Latencies, Wire

ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def run(per_second: float, p99: float = 5.0, **statuses: int) -> Run:
    """A run with so many accepted sends a second."""
    counted = {int(name[1:]): count for name, count in statuses.items()} or {202: 10}
    load = Measured(statuses=counted, per_second=per_second, p50=1.0, p99=p99, p999=p99, worst=p99, cpu=0.1)
    return Run(load, server_cpu=100.0, postgres_cpu=50.0, others=0.0)


def rounds(*figures: tuple[float, float, float, float, float]) -> list[Round]:
    """Rounds of (bare, gateway, one number, six round trips, p99 of the open loop)."""
    return [
        {BARE: run(bare), SPREAD: run(ours), HOT: run(hot), NAIVE: run(naive), PACED: run(1000, p99)}
        for bare, ours, hot, naive, p99 in figures
    ]


@pytest.fixture
def connection() -> tuple[Connection, list[Any]]:
    """A connection and what it tells."""
    told: list[Any] = []
    return Connection(lambda _, status: told.append(status), told.append), told


@pytest.mark.parametrize("cut", range(1, len(ANSWER)))
def test_an_answer_in_two_pieces(cut: int, connection: tuple[Connection, list[Any]]) -> None:
    """Wherever an answer is cut, it is told once, when its last byte is there; the next one too."""
    client, told = connection
    for _ in range(2):
        client.take(ANSWER[:cut])
        client.take(ANSWER[cut:])
    assert told == [202, 202]


def test_too_many_bytes(connection: tuple[Connection, list[Any]]) -> None:
    """What nobody asked for is an error, not half of the next answer."""
    client, told = connection
    client.take(ANSWER + b"x")
    assert told == ["an answer has 1 bytes too many"]


async def test_a_connection_that_the_server_closes(connection: tuple[Connection, list[Any]]) -> None:
    """It is told once, and can be closed like any other."""
    client, told = connection
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        await client.connect(*server.sockets[0].getsockname())
        async with asyncio.timeout(60):
            while not told:
                await asyncio.sleep(0.01)
        client.close()
    assert told == ["the server closed a connection (end of stream)"]


def test_an_answer_without_length() -> None:
    """An answer whose end cannot be known stops the measurement."""
    with pytest.raises(ValueError, match="without Content-Length"):
        size_of_answer(b"HTTP/1.1 202 Accepted\r\n\r\n")


@pytest.mark.parametrize("keys", [None, "r1"])
def test_requests_are_whole(keys: str | None) -> None:
    """Content-Length is right, with and without idempotency keys; no key comes twice."""
    job = Job(port=1, api_key="sk_x", recipients=3, seconds=1, warm_up=0, connections=1, keys=keys)
    requests = Requests(job)
    made = [requests.next() for _ in range(50)]
    for request in made:
        head, _, body = request.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        assert body.endswith(b'"}')
    assert len(set(made)) == (50 if keys else 3)


def test_medians_decide() -> None:
    """One bad round among three breaks nothing; two do. A bound that is met is kept."""
    good, bad = (10_000, 3500, 1750, 500, 19.9), (10_000, 3400, 1600, 1000, 20.0)
    kept = judge(BENCHMARKS, rounds(good, good, bad))
    broken = judge(BENCHMARKS, rounds(good, bad, bad))
    assert [judged.kept for judged in kept] == [True, True, True, True]
    assert [judged.kept for judged in broken] == [False, False, False, False]
    assert (kept[1].low, kept[1].median, kept[1].high) == (3.4, 7.0, 7.0)


def test_choice() -> None:
    """Without names all that promise something; a workload that two of them need runs once a round."""
    assert [benchmark.name for benchmark in chosen([])] == ["sends", "hot", "latency", "wire", "mirror", "sessions"]
    assert workloads_of(chosen(["sends", "hot"])) == [BARE, SPREAD, NAIVE, HOT]


def test_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    """It ends with status 2 and says which names there are, before anything is started."""
    assert main(["speed"]) == 2
    assert "there are: sends, hot, latency, wire, mirror, sessions, keys" in capsys.readouterr().err


def test_faults() -> None:
    """Refusals, and accepted messages that are not stored or not counted, spoil a run whatever its speed; the naive
    server's messages are not the gateway's."""
    measured: list[dict[Workload, Run]] = [
        {SPREAD: run(1, s202=7), NAIVE: run(1, s202=5)},
        {HOT: run(1, s202=3, s429=1)},
    ]
    assert faults(measured[:1], messages=7, counted=7) == []
    told = faults(measured, messages=9, counted=10)
    assert len(told) == 2
    assert "1 answers were not 202" in told[0]
    assert told[1] == "the gateway accepted 10, but 9 messages are stored"


def test_a_fault_breaks_the_report() -> None:
    """The JSON answer says `kept: false` for a fault as for a broken promise, and has every figure."""
    measured = rounds((10_000, 3500, 1750, 500, 19.9))
    conditions = Conditions(processors=2, load=(0.0, 1.0), memory=(60.0, 80.0), messages=10, rounds=1, seconds=1.0)
    judged = judge(BENCHMARKS, measured)
    assert as_json(Report(measured, judged, [], conditions))["kept"] is True
    told = as_json(Report(measured, judged, ["lost"], conditions))
    assert (told["kept"], told["wrong"]) == (False, ["lost"])
    assert told["workloads"]["gateway"]["per_second"] == [3500, 3500, 3500]
    assert [promise["kept"] for promise in told["promises"]] == [True] * 4


def wired(p50: float, off: float, *wrong: str) -> Wire:
    """A measurement on the wire with this latency and this distance from the promised time, in milliseconds."""
    latency, lateness = Latencies(p50, 2 * p50, 3 * p50), Latencies(1.0, off, off)
    return Wire(latency, 100.0, lateness, paced=35, load=(0.0, 1.0), seconds=60.0, wrong=wrong)


def test_on_the_wire_nothing_is_averaged_away() -> None:
    """Of few measurements the 99th percentile is the worst; the median is one that was measured."""
    assert Latencies.of([0.004, 0.001, 0.003, 0.002]) == Latencies(2.0, 4.0, 4.0)
    assert Latencies.of([*(n / 1000 for n in range(1, 201))]) == Latencies(100.0, 198.0, 200.0)


def test_promises_on_the_wire() -> None:
    """Both must hold, and nothing may be missing."""
    assert wired(59.9, 249.9).kept
    assert not wired(60.0, 1.0).kept
    assert not wired(1.0, 250.0).kept
    assert not wired(1.0, 1.0, "Budi has 199 messages").kept
    told = wire.as_json(wired(59.9, 250.0))
    assert (told["kept"], [promise["kept"] for promise in told["promises"]]) == (False, [True, False])
    assert told["latency"]["p50"] == 59.9


def mirrored(*ratios: float, wrong: tuple[str, ...] = ()) -> mirror.Mirror:
    """Rounds in which a mirrored message took so many times as long."""
    return mirror.Mirror(tuple(mirror.Turn(2.0, 2.0 * ratio) for ratio in ratios), (0.0, 0.0), wrong)


def test_promise_of_the_mirror() -> None:
    """The median round decides, and a mirror that is quick and wrong keeps nothing."""
    assert mirrored(1.0, 1.29, 9.0).kept
    assert not mirrored(1.0, 1.3, 1.4).kept
    assert not mirrored(1.0, wrong=("session-1.1: missing",)).kept
    assert mirror.as_json(mirrored(1.5))["promises"][0]["median"] == 1.5


def test_memory_of_a_session() -> None:
    """What all processes hold beyond as many with one session each, by the sessions that are beyond these; a connection
    that is held, or one that was refused, breaks a promise."""
    alone, idle = Processes(1, 100.0, 10), Processes(4, 498.0, 240)
    found = Sessions(200, 100, alone, idle, 40.0, 30.0, 90, 0, 86, 0, (1.0, 1.0))
    assert found.per_session == 0.5
    assert found.kept
    assert not replace(found, held=1).kept
    assert not replace(found, refused=1).kept
    assert not replace(found, wrong=("a phone has nothing",)).kept
