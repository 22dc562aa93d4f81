"""What WhatsApp's events mean for a session: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.transport.wire import (
    ClientOutdated,
    Disconnected,
    Ended,
    LoggedOut,
    LoginRefused,
    Replaced,
    StreamFailed,
    TemporaryBan,
)

if TYPE_CHECKING:
    from datetime import datetime

    from core.model import SessionState
    from core.transport.wire import Event


@dataclass(frozen=True, slots=True)
class Turn:
    """The session's state from now on. `ends`: the connection is of no more use and is closed; `rests`: it is not
    opened again unasked; `until`: nor by itself before; `unbinds`: the device is gone for good."""

    state: SessionState
    reason: str
    ends: bool = True
    rests: bool = False
    unbinds: bool = False
    until: datetime | None = None


_LOGGED_OUT = {
    401: "the phone has unlinked this device",
    403: "WhatsApp refuses this account (403): it may be locked; look at the phone",
    406: "WhatsApp has banned this account (406); look at the phone",
}


def turn(event: Event) -> Turn | None:  # noqa: PLR0911 - a table, one line per event
    """None: the event changes no state."""
    match event:
        case Disconnected(reason):
            return Turn("disconnected", reason or "the connection was lost; dialling again", ends=False)
        case StreamFailed(code):
            return Turn("disconnected", f"WhatsApp ended the stream ({code}); dialling again", ends=False)
        case Ended(reason):
            return Turn("disconnected", f"the connection ended ({reason}); opening it again")
        case LoggedOut(code):
            why = _LOGGED_OUT.get(code, f"WhatsApp has logged this device out ({code})")
            return Turn("banned" if code == 406 else "logged_out", f"{why}; pair again", rests=True, unbinds=True)
        case Replaced():
            why = "another program connected with the same login; end it there, then POST /api/reconnect"
            return Turn("replaced", why, rests=True)
        case TemporaryBan(code, until):
            end = f" until {until:%Y-%m-%d %H:%M} UTC" if until else ""
            words = f"WhatsApp has banned this number for a time{end} (code {code})"
            return Turn("banned", words, rests=until is None, until=until)
        case ClientOutdated():
            return Turn("client_outdated", "WhatsApp wants a newer client (405): update Gapura", rests=True)
        case LoginRefused(code, detail):
            return Turn("disconnected", f"WhatsApp refused the login ({code or detail}); trying again")
    return None
