"""After a take-over the process that had the session may live on for a moment and connect once more. Of two that hold
one login, WhatsApp throws the earlier one out: the rightful one then comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.clock import Clock
    from core.session_rows import Lease

WINDOW = 600.0
"""Seconds after a take-over in which whoever replaced us is taken for the old holder."""

TIMES = 3
"""How often that is answered; beyond, it is another program, which would fight for ever."""


class TakeOver:
    """Of one session."""

    def __init__(self, clock: Clock, lease: Lease) -> None:
        self._clock = clock
        self._until, self._answered = 0.0, 0
        self.note(lease)

    def note(self, lease: Lease) -> None:
        """The session is held under this lease."""
        if lease.taken_over:
            self._until, self._answered = self._clock.monotonic() + WINDOW, 0

    def answer(self) -> int | None:
        """Somebody has replaced us: how many times that was answered before, if it is answered by connecting again;
        None: it is not."""
        if self._clock.monotonic() >= self._until or self._answered >= TIMES:
            return None
        self._answered += 1
        return self._answered - 1
