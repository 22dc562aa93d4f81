"""A process that links many devices to a WhatsApp on loopback, as many pairings would leave them; all in one process,
which is quicker.

The first line of stdin is a `Linking`; each later one is a tenant. Each tenant is answered by two lines on the stdout
that the process was started with: the QR code's text, and, once that was scanned, the device's jid.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import msgspec

from core.transport.whatsapp.process import attach, capture_stdout, prepare_process

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.transport.whatsapp.gate import ConnectGate
    from core.transport.wire import Event

IDLE = 1.0
"""Seconds after which a linked device gives its connections back: it has nothing more to do."""


class Linking(msgspec.Struct, frozen=True):
    """`url`: of the database; `root_key` as hex; `devices`: how many will be linked."""

    url: str
    proxy: str
    root_key: str
    devices: int


async def _main() -> None:
    from core.transport.whatsapp.gate import ConnectGate

    out = os.fdopen(capture_stdout(), "w", buffering=1)
    settings = msgspec.json.decode(sys.stdin.readline(), type=Linking)
    prepare_process(settings.devices)
    attach(bytes.fromhex(settings.root_key))
    gate = ConnectGate()
    while tenant := (await asyncio.to_thread(sys.stdin.readline)).rstrip("\n"):
        device = _Device()
        await device.link(settings, gate, tenant, out.write)
    os._exit(0)  # clients keep their threads


class _Device:
    """Stays connected until the process ends: so it takes in what its phone hands over at first."""

    def __init__(self) -> None:
        self._jid, self._connected = "", asyncio.Event()
        self._tell: Callable[[str], object] | None = None

    async def link(self, settings: Linking, gate: ConnectGate, tenant: str, tell: Callable[[str], object]) -> None:
        from core.transport.whatsapp.client import Client
        from core.transport.whatsapp.database import library_dsn

        self._tell = tell
        dsn = library_dsn(settings.url, tenant, idle=IDLE)
        client = Client(tenant=tenant, dsn=dsn, device=None, gate=gate, on_event=self._hear, proxy=settings.proxy)
        await client.open()
        await self._connected.wait()
        tell(f"{self._jid}\n")

    def _hear(self, event: Event) -> None:
        from core.transport.wire import Connected, Paired, QrShown

        if isinstance(event, QrShown) and self._tell is not None:
            tell, self._tell = self._tell, None  # one code is enough
            tell(f"{event.text}\n")
        elif isinstance(event, Paired):
            self._jid = event.jid
        elif isinstance(event, Connected):
            self._connected.set()


if __name__ == "__main__":
    asyncio.run(_main())
