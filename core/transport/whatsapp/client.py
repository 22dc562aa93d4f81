"""One tenant's WhatsApp session in the library."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.transport.base import Sent
    from core.transport.wire import Event, Identity, Quote
    from core.transport.whatsapp.gate import ConnectGate

OnEvent = Callable[["Event"], Awaitable[None] | None]


class Client:
    """One device of one tenant.

    `device` is its own jid (`628…:7@s.whatsapp.net`), which must stand in whatsmeow_device (look it up first: the
    library ends the whole process otherwise), or None for a new device to be paired. `dsn` begins with `postgres`;
    ValueError otherwise. `on_event` is called in the loop, in order, and awaited when it returns an awaitable; while it
    works the library waits. `proxy` is a URL, http or socks5.
    """

    def __init__(
        self,
        *,
        tenant: str,
        dsn: str,
        device: str | None,
        gate: ConnectGate,
        on_event: OnEvent,
        proxy: str | None = None,
    ) -> None: ...

    async def open(self, timeout: float = 60) -> None:
        """Connect; returns when the library has taken over (a new device: when the first QR code is shown).
        Raises core.errors.OpenFailed."""
        raise NotImplementedError

    async def identity(self) -> Identity:
        """Who the library is logged in as: compare it with the bound jid after Connected."""
        raise NotImplementedError

    async def send(self, to: str, text: str, *, quote: Quote | None = None, mentions: tuple[str, ...] = ()) -> Sent:
        """Send a text; returns when WhatsApp has it. Raises core.errors.SendFailed."""
        raise NotImplementedError

    async def typing(self, to: str, on: bool = True) -> None:
        """Show or end "typing…" in a chat. Raises SendFailed."""
        raise NotImplementedError

    async def pair_code(self, number: str) -> str:
        """The code to be typed on the phone with `number` (digits); ask after the first QrShown. Raises SendFailed."""
        raise NotImplementedError

    async def mark_read(self, ids: tuple[str, ...], *, chat: str, sender: str) -> None:
        """Tell `sender` that their messages were read. Raises SendFailed."""
        raise NotImplementedError

    async def on_whatsapp(self, numbers: tuple[str, ...]) -> dict[str, bool]:
        """Which of these numbers (digits) have WhatsApp. Raises SendFailed."""
        raise NotImplementedError

    async def logout(self) -> None:
        """Unlink this device and delete its rows. Raises SendFailed. Close it afterwards."""
        raise NotImplementedError

    async def close(self, timeout: float = 10) -> bool:
        """Disconnect, hand over what had arrived, and stop. False when the library still holds a thread after
        `timeout` seconds (always for a device that was never paired): end such a process with os._exit."""
        raise NotImplementedError
