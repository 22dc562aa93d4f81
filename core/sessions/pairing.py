"""Linking a new device: QR codes and a pairing code are shown in the tenant's row until a phone takes one.

It runs in a process of its own, which ends with it: with a QR code shown, the library comes back to its unguarded maps
minutes later, at a moment that nobody controls.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from core.errors import OpenFailed, SendFailed, Unavailable
from core.session_rows import Device, Pairing
from core.transport.wire import Connected, Ended, Paired, PairingFailed, QrShown, Receipt, Received

if TYPE_CHECKING:
    from core.model import SessionState
    from core.sessions.session import Surroundings
    from core.transport.whatsapp.client import Client
    from core.transport.wire import Event

log = logging.getLogger(__name__)

CODE_LIVES = timedelta(seconds=160)
"""A code to type is good for as long as the socket waits for a phone: the time of six QR codes."""

_RAN_OUT = "nobody scanned the code in time; ask for a new one"
_RETRY = 0.2


class PairingSession:
    """One attempt of one tenant to link a device. The process holds the tenant's lease."""

    def __init__(self, tenant: str, around: Surroundings) -> None:
        self.tenant, self._around = tenant, around
        self._over: asyncio.Future[tuple[SessionState, str]] = asyncio.get_running_loop().create_future()
        self._client: Client | None = None
        self._shown = Pairing()
        self._has_qr = asyncio.Event()

    async def run(self, number: str | None) -> None:
        """Until a phone has linked the device, or the codes ran out, or WhatsApp refuses."""
        self._client = client = self._around.client(self.tenant, None, self._on_event)
        await self._write("pairing", None)
        try:
            await client.open()
            if number is not None:
                await self.show_code(number)
            state, reason = await self._over
        except OpenFailed as error:
            state, reason = "unpaired", f"could not reach WhatsApp ({error})"
        await client.close()
        self._shown = Pairing()
        await self._write(state, reason)
        log.info("%s: %s", self.tenant, reason, extra={"action": f"pairing.{state}", "tenant": self.tenant})

    async def show_code(self, number: str) -> None:
        """Show the code that is to be typed on the phone with this number, beside the QR code."""
        await self._has_qr.wait()
        if self._client is None or self._over.done():
            return None
        try:
            code = await self._client.pair_code(number)
        except SendFailed as error:
            return self._end("unpaired", f"WhatsApp gave no pairing code ({error})")
        until = self._around.clock.now() + CODE_LIVES
        self._shown = Pairing(self._shown.qr, self._shown.qr_until, code, until)
        return await self._write("pairing", None)

    async def _on_event(self, event: Event) -> None:
        match event:
            case QrShown(text, until):
                self._shown = Pairing(text, until, self._shown.code, self._shown.code_until)
                await self._write("pairing", None)
                self._has_qr.set()
            case Connected():
                await self._bind()
            case Received():
                await self._around.intake.message(self.tenant, event)
            case Receipt():
                await self._around.intake.receipt(self.tenant, event)
            case PairingFailed(reason, detail):
                self._end("unpaired", _RAN_OUT if reason == "qr_ran_out" else f"{reason}: {detail}".rstrip(": "))
            case Ended(reason):
                self._end("unpaired", f"the connection ended ({reason})")
            case Paired(jid):
                log.info(
                    "%s is linked as %s", self.tenant, jid, extra={"action": "pairing.linked", "tenant": self.tenant}
                )

    async def _bind(self) -> None:
        """The device is the tenant's: from now on it is opened by this jid and by no other."""
        assert self._client is not None  # noqa: S101 - it is what tells us
        me = await self._client.identity()
        device = Device(me.jid, me.lid, me.push_name, self._around.sandbox)
        while True:
            try:
                await self._around.store.bind(self._around.process, self.tenant, device)
                break
            except Unavailable:
                await self._around.clock.sleep(_RETRY)
        self._end("connecting", "linked; connecting")

    def _end(self, state: SessionState, reason: str) -> None:
        if not self._over.done():
            self._over.set_result((state, reason))

    async def _write(self, state: SessionState, reason: str | None) -> None:
        pairing = self._shown if state == "pairing" else None
        while True:
            try:
                await self._around.store.changed(self._around.process, self.tenant, state, reason, pairing)
                return
            except Unavailable:
                await self._around.clock.sleep(_RETRY)
