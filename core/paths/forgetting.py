"""What is deleted because it is old."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from db.store import Store

AT_A_TIME = 5_000
"""Rows that one statement deletes."""


class Chronicle(Protocol):
    """What grows with time."""

    async def forget(self, days: int, most: int) -> int:
        """Delete up to `most` rows that are older than `days`; how many there were."""
        ...


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many rows went."""

    daily_limits: int
    events: int
    callbacks: int
    messages: int
    incoming: int


@dataclass(frozen=True, slots=True)
class Forgetting:
    """`keep_daily_limits`, `keep_events`, `keep_messages`: days, as in Settings."""

    store: Store
    events: Chronicle
    callbacks: Chronicle
    keep_daily_limits: int
    keep_events: int
    keep_messages: int

    async def run(self) -> Forgotten:
        """Delete it now: idempotency keys, counters of past days, events and callbacks, and then the messages of which
        they tell. Raises Unavailable."""
        return Forgotten(
            daily_limits=await self.store.forget(self.keep_daily_limits),
            events=await _emptied(self.events.forget, self.keep_events),
            callbacks=await _emptied(self.callbacks.forget, self.keep_events),
            messages=await _emptied(self.store.forget_messages, self.keep_messages),
            incoming=await _emptied(self.store.forget_incoming, self.keep_messages),
        )


async def _emptied(forget: Callable[[int, int], Awaitable[int]], days: int) -> int:
    total = 0
    while True:
        gone = await forget(days, AT_A_TIME)
        total += gone
        if gone < AT_A_TIME:
            return total
