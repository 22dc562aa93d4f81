"""What a session, or the pairing of one, needs from the process that it lives in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from core.clock import Clock
    from core.sessions.intake import Intake
    from core.sessions.logins import Logins
    from core.transport.whatsapp.client import Client
    from core.transport.wire import Event
    from db.session_store import SessionStore

    OnEvent = Callable[[Event], Awaitable[None] | None]


class Surroundings(Protocol):
    """`process`: its number, under which leases are taken; `sandbox`: it speaks to a WhatsApp on loopback;
    `timelock_pause`: see core.sessions.timelock."""

    process: int
    sandbox: bool
    timelock_pause: float
    clock: Clock
    store: SessionStore
    logins: Logins
    intake: Intake
    turn: AbstractAsyncContextManager[None, None]
    """Entered by whoever connects; see core.sessions.room.Turns."""

    def client(self, tenant: str, device: str | None, fence: int, on_event: OnEvent) -> Client:
        """A client that is not open yet. `fence`: of the lease under which it works."""

    def opening(self, tenant: str, *, over: bool) -> None:
        """Tell the supervisor that the moment begins, or is over, in which processes have died."""

    def usable(self, tenant: str) -> None:
        """Messages may go."""

    def rests(self, tenant: str) -> None:
        """The session came to an end that trying again would not mend."""

    def lost(self, tenant: str) -> None:
        """The library was told that the lease is another's."""

    def give_up(self, why: str) -> None:
        """The library has got stuck for good: the process is to be ended."""
