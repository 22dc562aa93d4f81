"""From the library's threads into the loop: bounded, in order, nothing lost in silence."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.transport.wire import Event

log = logging.getLogger(__name__)


class Intake:
    """A queue of events with room for `limit`, and the task that hands them to `on_event` one by one.

    `put` belongs to the library's threads: it blocks while there is no room, which is how a slow consumer makes Go
    hold its messages and stop reading its socket. After `close` it never blocks again: what is put then, and what is
    blocked at that moment, is dropped, counted in `dropped` and logged by its kind.
    """

    def __init__(self, on_event: Callable[[Event], Awaitable[None] | None], *, tenant: str, limit: int = 64) -> None:
        self._on_event, self._tenant = on_event, tenant
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[tuple[Event, bool]] = asyncio.Queue()
        self._room = threading.Semaphore(limit)
        self._closed = False
        self._stir = asyncio.Event()
        self._busy = False
        self.dropped = 0
        self.task = self._loop.create_task(self._consume(), name=f"whatsapp intake of {tenant}")

    def put(self, event: Event) -> None:
        """Hand over from another thread; blocks while there is no room."""
        self._room.acquire()
        if self._closed:
            self._room.release()  # one after the other everybody who is blocked gets through
            self._drop(event)
            return
        try:
            self._loop.call_soon_threadsafe(self._arrive, event, True)
        except RuntimeError:  # the loop is closed
            self._drop(event)

    def put_now(self, event: Event) -> None:
        """Hand over from the loop itself, room or not."""
        self._arrive(event, False)

    async def quiet(self, seconds: float) -> None:
        """Wait until everything that came was handled and nothing more came for `seconds`."""
        while True:
            self._stir.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._stir.wait()
            except TimeoutError:
                if self._queue.empty() and not self._busy:
                    return

    async def close(self) -> None:
        """Drop what waits and let every blocked thread go."""
        self._closed = True
        self._room.release()
        self.task.cancel()
        await asyncio.wait({self.task})
        while not self._queue.empty():
            self._drop(self._queue.get_nowait()[0])

    def _arrive(self, event: Event, counted: bool) -> None:
        self._stir.set()
        if self._closed:
            self._drop(event)
        else:
            self._queue.put_nowait((event, counted))

    async def _consume(self) -> None:
        while True:
            event, counted = await self._queue.get()
            self._busy = True
            try:
                await self._handle(event)
            finally:
                self._busy = False
                self._stir.set()
                if counted:
                    self._room.release()

    async def _handle(self, event: Event) -> None:
        try:
            answer = self._on_event(event)
            if inspect.isawaitable(answer):
                await answer
        except asyncio.CancelledError:
            self._drop(event)
            raise
        except Exception:
            log.exception(
                "%s: %s was not handled",
                self._tenant,
                type(event).__name__,
                extra={"action": "whatsapp_event_failed", "tenant": self._tenant},
            )

    def _drop(self, event: Event) -> None:
        self.dropped += 1
        log.warning(
            "%s: %s was not handled before the session was closed, and is dropped",
            self._tenant,
            type(event).__name__,
            extra={"action": "whatsapp_event_dropped", "tenant": self._tenant},
        )
