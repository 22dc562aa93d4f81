"""neonize's client with its private seams in our hands. Written for neonize 0.5.2, which pyproject pins; the wire tests
break when another version moves the seams.

What is changed, and why:
- every call into Go goes through the ConnectGate (see there), except the connect and the stop, whose callers hold it;
- QR codes and the end of pairing are told from Go's thread, not through a second loop-bound path;
- Go's log lines of this client come with its tenant, redacted;
- the finalizer that stops a client whenever Python forgets it is detached, and no client is ever forgotten: it would
  write Go's maps at a moment nobody controls.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
from typing import TYPE_CHECKING, Any

from core.transport.whatsapp import logs
from core.transport.whatsapp.messages import own_address
from core.transport.whatsapp.process import load
from core.transport.whatsapp.translate import SUBSCRIBED

load()

from neonize._binder import ProxySettings, gocode  # noqa: E402 - load() keeps its import from configuring the log
from neonize.aioze import client as neonize_client  # noqa: E402
from neonize.proto.Neonize_pb2 import LogEntry  # noqa: E402
from neonize.proto.waCompanionReg.WAWebProtobufsCompanionReg_pb2 import DeviceProps  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.transport.whatsapp.gate import ConnectGate
    from core.transport.wire import Unreadable

log = logging.getLogger(__name__)

DEVICE = DeviceProps(os="Gapura", platformType=DeviceProps.CHROME)
"""How phones list a linked device. One for all tenants: Go keeps it once per process, merging what each client says."""

_kept: list[Library] = []


class Library(neonize_client.NewAClient):  # type: ignore[misc]
    """One client of neonize's; `callback(code, raw)`, `qr_shown(text)`, `pairing_over(how)` and `not_readable(which)`
    run on Go's threads."""

    def __init__(self, *, tenant: str, dsn: str, device: str | None, key: str, gate: ConnectGate) -> None:
        super().__init__(
            dsn,
            jid=own_address(device) if device else None,
            props=DEVICE,
            uuid=key,
            new_device=device is None,
        )
        self._tenant = tenant
        self._stop_finalizer.detach()
        _kept.append(self)
        self.event.list_func = dict.fromkeys(SUBSCRIBED)
        self.event.execute = self._on_callback
        self._NewAClient__client = _GatedCalls(gate)
        self.callback: Callable[[int, bytes], None]
        self.qr_shown: Callable[[str], None]
        self.pairing_over: Callable[[str], None]
        self.not_readable: Callable[[Unreadable], None]

    async def begin(self, proxy: str | None) -> asyncio.Task[None]:
        """Start the connect; the task ends when Go's loop of this client has ended. Never cancel it: that stops the
        client on the loop's own thread."""
        # Looked up by name inside connect, before its first await.
        neonize_client.log_whatsmeow = self._on_log
        task: asyncio.Task[None] = await self.connect(ProxySettings(proxy) if proxy else None)
        return task

    # Each of these is entered from Go: an exception would be printed and forgotten.

    def _on_callback(self, _: int, binary: int, size: int, code: int) -> None:
        self._guarded(lambda: self.callback(code, ctypes.string_at(binary, size)))

    def _NewAClient__onQr(self, _: int, text: int) -> None:  # noqa: N802 - neonize's name
        self._guarded(lambda: self.qr_shown(ctypes.string_at(text).decode()))

    def _NewAClient__onLoginStatus(self, _: int, status: int) -> None:  # noqa: N802 - neonize's name
        self._guarded(lambda: self.pairing_over(ctypes.string_at(status).decode()))

    def _on_log(self, binary: int, size: int) -> None:
        self._guarded(lambda: self._log_line(LogEntry.FromString(ctypes.string_at(binary, size))))

    def _log_line(self, line: Any) -> None:
        logs.keep(line.Name, line.Level, line.Message, tenant=self._tenant)
        if (which := logs.unreadable(line.Message)) is not None:
            self.not_readable(which)

    def _guarded(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception:
            log.exception("%s: a callback failed", self._tenant, extra={"action": "whatsapp_callback_failed"})


class _GatedCalls:
    """What neonize takes for its door to Go: every function, awaitable, behind the gate."""

    def __init__(self, gate: ConnectGate) -> None:
        self._gate = gate

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(gocode, name)
        if name in ("Neonize", "Stop"):
            return lambda *args: asyncio.to_thread(function, *args)
        return lambda *args: self._gate.call(function, *args)
