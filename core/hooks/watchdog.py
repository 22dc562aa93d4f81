"""Tells which plugin keeps the event loop standing still, while it stands.

A `def` hook that blocks blocks everybody. A thread asks the loop for a sign of life; when none comes in time,
it looks at the loop's own stack for the call that dispatch was making. This costs the calls themselves nothing.
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING

from core.hooks.calls import Call

if TYPE_CHECKING:
    import asyncio
    from types import FrameType

log = logging.getLogger(__name__)


class Watchdog:
    """Made and started in the loop's own thread; `stop` before the loop is closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, limit: float = 1.0) -> None:
        self._loop, self._limit = loop, limit
        self._watched = threading.get_ident()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="plugin-watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch the loop."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; returns when it has ended."""
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(self._limit / 2):
            alive = threading.Event()
            try:
                self._loop.call_soon_threadsafe(alive.set)
            except RuntimeError:  # the loop is closed
                return
            if not alive.wait(self._limit) and not self._stopped.is_set():
                self._report()
            while not alive.wait(self._limit) and not self._stopped.is_set():
                pass  # one report for one standstill

    def _report(self) -> None:
        frame = sys._current_frames().get(self._watched)
        if frame is None or (call := _call_at_work(frame)) is None:
            return
        log.warning(
            "plugin %r has kept everything waiting for over %g s in hook %r, at %s:%d; await instead of blocking",
            call.plugin,
            self._limit,
            call.hook,
            frame.f_code.co_filename,
            frame.f_lineno,
            extra={"action": "plugin_blocks", "plugin": call.plugin, "hook": call.hook},
        )


def _call_at_work(frame: FrameType | None) -> Call | None:
    while frame is not None:
        if frame.f_globals.get("__name__") in {"core.hooks.dispatch", "core.hooks.wrappers"}:
            call = frame.f_locals.get("call")
            if isinstance(call, Call):
                return call
        frame = frame.f_back
    return None
