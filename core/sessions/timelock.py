"""WhatsApp's code 463: for a while a number may begin no new conversations."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.clock import Clock

_GROWTH = (1, 5, 15, 60)
"""How many first pauses each pause lasts."""


class Timelock:
    """In force from a refused message until a new conversation has begun. Meanwhile one is tried now and then; who
    has written to the tenant is written to as ever."""

    def __init__(self, clock: Clock, first_pause: float) -> None:
        """`first_pause`: seconds until the next message is tried after a first refusal."""
        self._clock, self._first_pause = clock, first_pause
        self._refusals = 0
        self._until = 0.0
        self.words = ""
        """What holds, for people."""

    @property
    def in_force(self) -> bool:
        """Whether the last that was heard is a refusal."""
        return self._refusals > 0

    @property
    def lets_try(self) -> bool:
        """Whether a new conversation may be tried now."""
        return self._clock.monotonic() >= self._until

    def refused(self) -> float:
        """Another message was refused; in how many seconds a new conversation may be tried."""
        pause = self._first_pause * _GROWTH[min(self._refusals, len(_GROWTH) - 1)]
        self._refusals += 1
        self._until = self._clock.monotonic() + pause
        again = self._clock.now() + timedelta(seconds=pause)
        self.words = (
            "WhatsApp refuses new conversations of this number (463): they wait, and the next one is tried at "
            f"{again:%H:%M:%S} UTC; who has written before is answered"
        )
        return pause

    def lifted(self) -> None:
        """A new conversation has begun."""
        self._refusals = 0
