"""WhatsApp's code 463: for a while a number may begin no new conversations."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.clock import Clock
    from core.session_rows import Lease

_GROWTH = (1, 5, 15, 60)
"""How many first pauses each pause lasts."""


class Timelock:
    """In force from a refused message until a new conversation has begun. Meanwhile one is tried now and then; who
    has written to the tenant is written to as ever. A new holder of the session goes on where the last one was."""

    def __init__(self, clock: Clock, first_pause: float, lease: Lease) -> None:
        """`first_pause`: seconds until the next message is tried after a first refusal."""
        self._clock, self._first_pause = clock, first_pause
        self.refusals = lease.refusals
        """How many there were in a row."""
        self._until = 0.0
        self.words = ""
        """What holds, for people."""
        if self.in_force:
            self._hold(lease.refused_for)

    @property
    def in_force(self) -> bool:
        """Whether the last that was heard is a refusal."""
        return self.refusals > 0

    @property
    def lets_try(self) -> bool:
        """Whether a new conversation may be tried now."""
        return self._clock.monotonic() >= self._until

    def refused(self) -> float:
        """Another message was refused; in how many seconds a new conversation may be tried."""
        pause = self._first_pause * _GROWTH[min(self.refusals, len(_GROWTH) - 1)]
        self.refusals += 1
        self._hold(pause)
        return pause

    def _hold(self, seconds: float) -> None:
        self._until = self._clock.monotonic() + seconds
        again = self._clock.now() + timedelta(seconds=seconds)
        self.words = (
            "WhatsApp refuses new conversations of this number (463): they wait, and the next one is tried at "
            f"{again:%H:%M:%S} UTC; who has written before is answered"
        )

    def lifted(self) -> None:
        """A new conversation has begun."""
        self.refusals = 0
