"""Who may be inside the library at which moment."""

from __future__ import annotations

import asyncio
import threading

import pytest

from core.transport.whatsapp import gate as gate_module
from core.transport.whatsapp.gate import ConnectGate


async def settled() -> None:
    """Let everything that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


class Step:
    """A turn that begins when it may and ends when it is told."""

    def __init__(self, gate: ConnectGate) -> None:
        self.began, self.end = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self._run(gate))

    async def _run(self, gate: ConnectGate) -> None:
        async with gate.alone() as self.turn:
            self.began.set()
            await self.end.wait()


async def test_one_connect_at_a_time() -> None:
    """The second begins when the first has ended."""
    gate = ConnectGate()
    first, second = Step(gate), Step(gate)
    await settled()
    assert (first.began.is_set(), second.began.is_set()) == (True, False)
    first.end.set()
    await second.began.wait()
    second.end.set()
    await second.task


async def test_no_call_begins_during_a_connect() -> None:
    """Its first moments would read maps that are being written."""
    gate, called = ConnectGate(), threading.Event()
    step = Step(gate)
    await step.began.wait()
    call = asyncio.create_task(gate.call(called.set))
    await settled()
    assert not called.is_set()
    step.end.set()
    await call
    assert called.is_set()


async def test_a_connect_waits_for_a_calls_first_moments_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A send may last 75 seconds; a connect does not wait for its end."""
    monkeypatch.setattr(gate_module, "FIRST_MOMENTS", 0.01)
    gate, go_on = ConnectGate(), threading.Event()
    call = asyncio.create_task(gate.call(go_on.wait))
    await asyncio.sleep(0)
    step = Step(gate)
    await step.began.wait()
    assert not call.done()
    go_on.set()
    assert await call is True
    step.end.set()
    await step.task


async def test_a_connect_does_not_begin_in_a_calls_first_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when the call's thread is late in starting, or takes its time at the beginning."""
    monkeypatch.setattr(gate_module, "FIRST_MOMENTS", 3600)
    gate, go_on = ConnectGate(), threading.Event()
    call = asyncio.create_task(gate.call(go_on.wait))
    step = Step(gate)
    await settled()
    assert not step.began.is_set()
    go_on.set()
    await call
    await step.began.wait()
    step.end.set()
    await step.task


async def test_first_come_first_served() -> None:
    """A call that came before the second connect begins before it: many connects in a row starve nobody."""
    gate, order = ConnectGate(), []
    first = Step(gate)
    await first.began.wait()
    call = asyncio.create_task(gate.call(order.append, "call"))
    await settled()
    second = Step(gate)
    await settled()
    first.end.set()
    await second.began.wait()
    order.append("second")
    second.end.set()
    await asyncio.gather(call, second.task)
    assert order == ["call", "second"]


async def test_a_connect_that_hangs_lets_calls_through_but_no_connect() -> None:
    """Past its writes, it will only look into the maps when its dial ends."""
    gate = ConnectGate()
    hung = Step(gate)
    await hung.began.wait()
    other = Step(gate)
    await settled()
    hung.turn.kept = True
    hung.turn.admit_calls()
    hung.end.set()
    await hung.task
    assert await gate.call(lambda: "sent") == "sent"
    assert not other.began.is_set()
    hung.turn.end()
    await other.began.wait()
    other.end.set()
    await other.task


async def test_who_is_cancelled_while_waiting_holds_up_nobody() -> None:
    """Neither before nor in the very step in which its turn was granted."""
    gate = ConnectGate()
    first, second, third = Step(gate), Step(gate), Step(gate)
    await settled()
    second.task.cancel()
    await settled()
    first.end.set()
    first.task.cancel()
    await third.began.wait()
    fourth = Step(gate)
    await settled()
    third.end.set()
    await asyncio.sleep(0)
    fourth.task.cancel()
    last = Step(gate)
    await last.began.wait()
    last.end.set()
    await last.task


async def test_a_cancelled_call_runs_on_and_gives_the_gate_back() -> None:
    """No thread can be stopped, but nobody need wait for it either."""
    gate, began, go_on = ConnectGate(), threading.Event(), threading.Event()

    def slow() -> None:
        began.set()
        go_on.wait()

    call = asyncio.create_task(gate.call(slow))
    while not began.is_set():
        await asyncio.sleep(0.001)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    go_on.set()
    step = Step(gate)
    await step.began.wait()
    step.end.set()
    await step.task


async def test_a_calls_error_is_its_callers() -> None:
    """And the gate is free afterwards."""
    gate = ConnectGate()
    with pytest.raises(ZeroDivisionError):
        await gate.call(lambda: 1 // 0)
    step = Step(gate)
    await step.began.wait()
    step.end.set()
    await step.task
