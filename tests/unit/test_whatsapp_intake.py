"""Events from the library's threads: in order, bounded, nothing lost in silence."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from core.transport.whatsapp.intake import Intake
from core.transport.wire import Connected, Disconnected, StreamFailed

if TYPE_CHECKING:
    import pytest

    from core.transport.wire import Event


def in_a_thread(intake: Intake, events: list[StreamFailed]) -> threading.Thread:
    thread = threading.Thread(target=lambda: [intake.put(event) for event in events], daemon=True)
    thread.start()
    return thread


async def joined(thread: threading.Thread) -> None:
    await asyncio.to_thread(thread.join, 60)
    assert not thread.is_alive()


def numbered(count: int) -> list[StreamFailed]:
    return [StreamFailed(str(number)) for number in range(count)]


async def test_events_are_handled_in_order_and_awaited_one_by_one() -> None:
    """The next begins when the one before has been handled."""
    seen: list[tuple[str, Event]] = []

    async def handle(event: Event) -> None:
        seen.append(("begins", event))
        await asyncio.sleep(0)
        seen.append(("ends", event))

    intake, events = Intake(handle, tenant="shop"), numbered(20)
    await joined(in_a_thread(intake, events))
    await intake.quiet(0.01)
    assert seen == [(what, event) for event in events for what in ("begins", "ends")]
    await intake.close()


async def test_a_full_queue_blocks_the_librarys_thread_until_there_is_room() -> None:
    """With room for 4 and a handler that stands still, the fifth put does not return."""
    go_on, seen = asyncio.Event(), []

    async def handle(event: Event) -> None:
        await go_on.wait()
        seen.append(event)

    intake, put = Intake(handle, tenant="shop", limit=4), []
    events = numbered(10)

    def put_all() -> None:
        for event in events:
            intake.put(event)
            put.append(event)

    thread = threading.Thread(target=put_all, daemon=True)
    thread.start()
    while len(put) < 4:
        await asyncio.sleep(0.001)
    await asyncio.to_thread(thread.join, 0.05)
    assert thread.is_alive()
    assert put == events[:4]
    go_on.set()
    await joined(thread)
    await intake.quiet(0.01)
    assert seen == events
    await intake.close()


async def test_a_handlers_error_is_logged_and_the_next_event_is_handled(caplog: pytest.LogCaptureFixture) -> None:
    """The library itself drops the exceptions of its handlers."""
    seen = []

    def handle(event: Event) -> None:
        if isinstance(event, Connected):
            raise RuntimeError("no disk")
        seen.append(event)

    intake = Intake(handle, tenant="shop")
    intake.put_now(Connected())
    intake.put_now(Disconnected())
    await intake.quiet(0.01)
    assert seen == [Disconnected()]
    assert "no disk" in caplog.text
    assert caplog.records[0].action == "whatsapp_event_failed"  # type: ignore[attr-defined]
    await intake.close()


async def test_closing_frees_blocked_threads_and_names_what_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """A thread that Go waits for must get through, whatever the handler does; every event dropped is counted."""
    intake = Intake(lambda _: asyncio.sleep(3600), tenant="shop", limit=2)
    events = numbered(10)
    thread = in_a_thread(intake, events)
    await asyncio.to_thread(thread.join, 0.05)
    assert thread.is_alive()
    await intake.close()
    await joined(thread)
    await asyncio.sleep(0)
    assert intake.dropped == len(events)
    assert {record.action for record in caplog.records} == {"whatsapp_event_dropped"}  # type: ignore[attr-defined]
    await asyncio.to_thread(intake.put, Connected())
    assert intake.dropped == len(events) + 1


async def test_a_loop_that_is_gone_is_no_error_in_the_librarys_thread() -> None:
    """A callback after the loop's end drops its event; an exception there would be printed by ctypes."""
    loop = asyncio.new_event_loop()
    made: list[Intake] = []

    async def make() -> None:
        made.append(Intake(lambda _: None, tenant="shop"))
        await made[0].close()

    def run() -> None:
        loop.run_until_complete(make())
        loop.close()
        made[0]._closed = False  # as if it had been forgotten
        made[0].put(Connected())

    await asyncio.to_thread(run)
    assert made[0].dropped == 1
