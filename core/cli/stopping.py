"""SIGTERM and Ctrl-C: a clean end, whenever they come."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Before `event` is asked for, a signal ends the program at once with status 0; from then on it sets the event.

    Handlers of the loop's own (add_signal_handler) would be gone while the database is being stopped, after the loop.
    """

    def __init__(self) -> None:
        self._event: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    @contextlib.contextmanager
    def caught(cls) -> Iterator[StopSignals]:
        """Both signals, until the end of the block."""
        signals = cls()
        before = {number: signal.signal(number, signals._handle) for number in SIGNALS}
        try:
            yield signals
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def event(self) -> asyncio.Event:
        """What a signal sets. To be called in the running loop."""
        self._event, self._loop = asyncio.Event(), asyncio.get_running_loop()
        return self._event

    def _handle(self, *_: object) -> None:
        if self._event is None or self._loop is None:
            raise SystemExit(0)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._event.set)
