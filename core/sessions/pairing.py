"""Linking a new device: QR codes and a pairing code are shown in the tenant's row until a phone takes one.

It runs in a process of its own, which ends with it: with a QR code shown, the library comes back to its unguarded maps
minutes later, at a moment that nobody controls.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from core.errors import OpenFailed, SendFailed, StatementRejected, Unavailable
from core.session_rows import Device, LinkProblem, Pairing
from core.sessions.standing import Standing, until_written
from core.transport.wire import (
    Connected,
    Ended,
    LoggedOut,
    Paired,
    PairingFailed,
    QrShown,
    Receipt,
    Received,
    Signal,
    Unreadable,
)

if TYPE_CHECKING:
    from core.model import SessionState
    from core.sessions.surroundings import Surroundings
    from core.transport.whatsapp.client import Client
    from core.transport.wire import Event

log = logging.getLogger(__name__)

CODE_LIVES = timedelta(seconds=160)
"""A code to type is good for as long as the socket waits for a phone: the time of six QR codes."""

FIRST_LOGIN = 30.0
"""Seconds for a device that was just linked to log in; then its session process tries."""

HAND_OVER = 10.0
"""Seconds for which a device that has logged in waits for its phone, which hands over keys and settings at first."""

SETTLE = 1.0
"""Seconds for the library to make use of them. A connection that ends meanwhile leaves messages half acknowledged, and
names and contacts unread."""

_LOOK = 0.1

_FAILURES = {
    "qr_ran_out": "nobody scanned the code in time; ask for a new one",
    "client_outdated": "WhatsApp wants a newer client (405): update Gapura",
    "passkey_required": "WhatsApp asks for a passkey, which cannot be given here; see the phone",
}
_UNWANTED: dict[LinkProblem, str] = {
    "number_taken": "the number {number} is linked to another tenant of this gateway: unlinked again",
    "another_number": "{number} is not the number of before: unlinked again; to change it: "
    "run.py tenant pair {tenant} --force",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How pairing ended. `linked`: the tenant has a device."""

    linked: bool
    reason: str

    @property
    def state(self) -> SessionState:
        """The session's state from then on."""
        return "connecting" if self.linked else "unpaired"


class PairingSession:
    """One attempt of one tenant to link a device. The process holds the tenant's lease."""

    def __init__(self, tenant: str, around: Surroundings, *, force: bool = False) -> None:
        """`force`: also to another number than before; may be set later. `fence`, of the lease, is set before `run`."""
        self.tenant, self._around, self.force = tenant, around, force
        self._standing = Standing(tenant, around.store, around.clock, process=around.process)
        self._over: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._client: Client | None = None
        self._shown = Pairing()
        self.fence = 0
        self._has_qr = asyncio.Event()
        self._linked = False
        self._unwanted: tuple[str, Outcome] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._settling: asyncio.Task[None] | None = None

    async def run(self, number: str | None) -> None:
        """Until a phone has linked the device, or the codes ran out, or WhatsApp refuses. A client that was never
        linked is not closed: its process ends."""
        try:
            # Else the first rows of the new login would not be mirrored.
            await self._around.logins.prepare()
        except (OpenFailed, Unavailable, StatementRejected) as error:
            return await self._standing.enter("unpaired", f"the database is not ready for a login ({error})")
        self._client = client = self._around.client(self.tenant, None, self.fence, self._on_event)
        await self._standing.enter("pairing", None)
        if number is not None:
            self._asking = asyncio.create_task(self.show_code(number))
        try:
            await client.open()
        except OpenFailed as error:
            self._end(Outcome(False, f"could not reach WhatsApp ({error})"))
        outcome = await self._over
        if outcome.linked or self._unwanted is not None:
            await client.close()
        if self._unwanted is not None:
            remove = partial(self._around.store.remove_device, self._unwanted[0])
            await until_written(remove, self._around.clock, self.tenant)
        await self._standing.enter(outcome.state, outcome.reason)
        log.info("%s: %s", self.tenant, outcome.reason,
                 extra={"action": f"pairing.{outcome.state}", "tenant": self.tenant})  # fmt: skip
        return None

    async def show_code(self, number: str) -> None:
        """Show the code that is to be typed on the phone with this number, beside the QR code."""
        await self._has_qr.wait()
        if self._client is None or self._over.done() or self._linked:
            return None
        try:
            code = await self._client.pair_code(number)
        except SendFailed as error:
            return self._end(Outcome(False, f"WhatsApp gave no pairing code ({error})"))
        until = self._around.clock.now() + CODE_LIVES
        self._shown = Pairing(self._shown.qr, self._shown.qr_until, code, until)
        return await self._show()

    async def _show(self) -> None:
        if not self._over.done() and not self._linked:
            await self._standing.enter("pairing", None, self._shown)

    async def _on_event(self, event: Event) -> None:
        match event:
            case QrShown(text, until):
                self._shown = Pairing(text, until, self._shown.code, self._shown.code_until)
                await self._show()
                self._has_qr.set()
            case Paired(jid, lid):
                await self._linked_as(jid, lid)
            case Connected() if self._unwanted is not None:
                await self._unlink()
            case Connected():
                await self._logged_in()
            case Received() | Receipt() | Signal() | Unreadable():
                if self._unwanted is None:
                    await self._around.intake.take(self.tenant, event)
            case PairingFailed(reason, detail):
                self._end(Outcome(False, _FAILURES.get(reason) or f"{reason}: {detail}".rstrip(": ")))
            case Ended(reason):
                self._end(Outcome(False, f"the connection ended ({reason})"))
            case LoggedOut(code):
                self._end(Outcome(False, f"the phone has unlinked this device again ({code})"))

    async def _linked_as(self, jid: str, lid: str) -> None:
        """The device is the tenant's from this moment, and is opened by this jid and by no other, also when this
        process dies now."""
        if (problem := await self._problem(jid)) is not None:
            return self._refuse(jid, problem)
        self._linked = True
        await self._bind(Device(jid, lid, "", self._around.sandbox))
        log.info("%s is linked as %s", self.tenant, jid, extra={"action": "pairing.linked", "tenant": self.tenant})
        asyncio.get_running_loop().call_later(FIRST_LOGIN, self._end, Outcome(True, "linked; connecting"))
        return None

    async def _problem(self, jid: str) -> LinkProblem | None:
        while True:
            try:
                problem = await self._around.store.link_problem(self.tenant, jid)
            except Unavailable:
                await self._around.clock.sleep(_LOOK)
            else:
                return None if self.force and problem == "another_number" else problem

    def _refuse(self, jid: str, problem: LinkProblem) -> None:
        """A device that is not to be the tenant's is unlinked once it has logged in, and forgotten in any case."""
        outcome = Outcome(False, _UNWANTED[problem].format(number=jid.partition(":")[0], tenant=self.tenant))
        self._unwanted = jid, outcome
        log.warning("%s: %s", self.tenant, outcome.reason,
                    extra={"action": f"pairing.{problem}", "tenant": self.tenant})  # fmt: skip
        asyncio.get_running_loop().call_later(FIRST_LOGIN, self._end, outcome)

    async def _unlink(self) -> None:
        assert self._client is not None  # noqa: S101 - it is what tells us
        assert self._unwanted is not None  # noqa: S101 - asked before
        with contextlib.suppress(SendFailed):
            await self._client.logout()
        self._end(self._unwanted[1])

    async def _logged_in(self) -> None:
        assert self._client is not None  # noqa: S101 - it is what tells us
        try:
            me = await self._client.identity()
            await self._bind(Device(me.jid, me.lid, me.push_name, self._around.sandbox))
        except SendFailed as error:
            log.warning("%s: %s", self.tenant, error, extra={"action": "pairing.no_identity", "tenant": self.tenant})
            self._end(Outcome(True, "linked; connecting"))
        else:
            self._settling = asyncio.create_task(self._settle(me.jid), name=f"settling {self.tenant}")

    async def _settle(self, jid: str) -> None:
        """Stay until the phone has handed over what the new device needs."""
        try:
            async with asyncio.timeout(HAND_OVER):
                while not await self._around.store.has_app_state_keys(jid):
                    await self._around.clock.sleep(_LOOK)
                await self._around.clock.sleep(SETTLE)
        except (TimeoutError, Unavailable, StatementRejected) as error:
            log.warning("%s: its phone handed over no keys (%r)", self.tenant, error,
                        extra={"action": "pairing.no_keys", "tenant": self.tenant})  # fmt: skip
        self._end(Outcome(True, "linked; connecting"))

    async def _bind(self, device: Device) -> None:
        bind = partial(self._around.store.bind, self._around.process, self.tenant, device)
        await until_written(bind, self._around.clock, self.tenant)

    def _end(self, outcome: Outcome) -> None:
        # What goes wrong once the device is linked is for its session process to see.
        if not self._over.done():
            self._over.set_result(Outcome(True, "linked; connecting") if self._linked else outcome)
