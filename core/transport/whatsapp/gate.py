"""Who may be inside the library at which moment (see ConnectGate)."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

FIRST_MOMENTS = 0.1
"""Seconds after a call's start in its thread during which it may still look into the library's maps."""


class Turn:
    """One connect's or stop's time alone. `admit_calls` lets calls in, but no other turn; `end` lets everybody in."""

    def __init__(self, gate: ConnectGate) -> None:
        self._gate = gate
        self.calls_admitted = False
        self.kept = False
        """True: whoever took the turn ends it later, by hand."""

    def admit_calls(self) -> None:
        self.calls_admitted = True
        self._gate._grant()

    def end(self) -> None:
        self._gate._leave(self)


class ConnectGate:
    """One per process; every Client of it shares it.

    The library keeps its clients in maps without a lock, and Go ends the process when one thread writes such a map
    while another looks into it. A connect writes and looks until its first callback, a stop until it returns: each has
    the gate for itself (`alone`). Every other call looks into the maps only at its beginning, so `call` holds the gate
    for its first moments and not for the 75 seconds that a send may take. First come, first served, so that neither
    many calls nor many connects can starve the others; but a connect that hangs in its dial, which is past its writes,
    lets calls through (`Turn.admit_calls`).
    """

    def __init__(self) -> None:
        self._owner: Turn | None = None
        self._inside = 0
        self._waiting: deque[tuple[Turn | None, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[Turn]:
        """A turn alone, ended on leaving unless it was `kept`."""
        turn = Turn(self)
        await self._enter(turn)
        try:
            yield turn
        finally:
            if not turn.kept:
                turn.end()

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """`function(*args)` in a thread of the loop's default executor, begun while nobody has the gate alone.

        When the caller is cancelled the function runs on, as no thread can be stopped.
        """
        await self._enter(None)
        loop = asyncio.get_running_loop()
        leave = _once(partial(self._leave, None))

        def run() -> Any:
            loop.call_soon_threadsafe(loop.call_later, FIRST_MOMENTS, leave)
            return function(*args)

        try:
            future = loop.run_in_executor(None, run)
        except BaseException:
            leave()
            raise
        future.add_done_callback(leave)
        return await asyncio.shield(future)

    async def _enter(self, turn: Turn | None) -> None:
        """Take the gate: for a turn, or for a call's first moments when `turn` is None."""
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, granted))
        self._grant()
        try:
            await granted
        except asyncio.CancelledError:
            # Granted and cancelled in the same step of the loop: nobody else would give it back.
            if granted.done() and not granted.cancelled():
                self._leave(turn)
            raise

    def _leave(self, turn: Turn | None) -> None:
        if turn is None:
            self._inside -= 1
        elif self._owner is turn:
            self._owner = None
        self._grant()

    def _grant(self) -> None:
        """Let in whoever may go, in the order of their coming."""
        passed_over: deque[tuple[Turn | None, asyncio.Future[None]]] = deque()
        while self._waiting:
            turn, granted = self._waiting.popleft()
            if granted.done():
                continue
            if self._free_for(turn):
                self._take(turn)
                granted.set_result(None)
                continue
            passed_over.append((turn, granted))
            # Only a turn that admits calls lets the later calls overtake the turns that wait for its end.
            if not (self._owner and self._owner.calls_admitted):
                break
        self._waiting.extendleft(reversed(passed_over))

    def _free_for(self, turn: Turn | None) -> bool:
        if turn is None:
            return self._owner is None or self._owner.calls_admitted
        return self._owner is None and self._inside == 0

    def _take(self, turn: Turn | None) -> None:
        if turn is None:
            self._inside += 1
        else:
            self._owner = turn


def _once(function: Callable[[], None]) -> Callable[..., None]:
    """`function`, called at most once, whatever the arguments."""
    left = [function]

    def call(*_: object) -> None:
        if left:
            left.pop()()

    return call
