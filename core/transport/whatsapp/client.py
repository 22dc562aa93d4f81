"""One tenant's WhatsApp session in the library."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from neonize.exc import NeonizeError
from neonize.utils.enum import ChatPresence, ChatPresenceMedia, ReceiptType

from core.clock import Clock
from core.errors import OpenFailed, SendFailed
from core.transport.base import Sent
from core.transport.whatsapp.errors import explain_open, explain_request, explain_send
from core.transport.whatsapp.intake import Intake
from core.transport.whatsapp.library import Library
from core.transport.whatsapp.messages import address, text_message
from core.transport.whatsapp.translate import device_jid, translate
from core.transport.wire import (
    ClientOutdated,
    Ended,
    Identity,
    LoginRefused,
    Paired,
    PairingFailed,
    QrShown,
    Received,
    TemporaryBan,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from core.transport.whatsapp.gate import ConnectGate, Turn
    from core.transport.wire import Event, Quote

log = logging.getLogger(__name__)

FIRST_QR, NEXT_QR = timedelta(seconds=60), timedelta(seconds=20)
"""How long WhatsApp honours the first code of a pairing, and each later one."""

QUIET = 0.3
"""Seconds without an event after a disconnect until all that the library had read counts as handed over. It keeps up
to 100 events of which nobody can ask, and forgets them when it is stopped."""

_DEVICE = re.compile(r"[0-9]+:[0-9]+@s\.whatsapp\.net")
_PAIRING_OVER = {
    "timeout": "qr_ran_out",
    "error": "refused",
    "err-client-outdated": "client_outdated",
    "err-unexpected-state": "login_refused",
    "passkey-request": "passkey_required",
}
# Fields that neonize requires, and leaves unset for codes of WhatsApp's that it does not know.
_NOT_ENCODED: dict[str, Event] = {
    "TemporaryBan.Code": TemporaryBan(code=None, expires_at=None),
    "ConnectFailure.Reason": LoginRefused(code=None),
}
_open_keys: set[str] = set()
_numbers = itertools.count(1)


class Client:
    """One device of one tenant, to be opened once and closed once.

    `device` is its own jid (`628…:7@s.whatsapp.net`), which must stand in whatsmeow_device (look it up first: the
    library ends the whole process otherwise), or None for a new device to be paired. There is no third way, in which
    the library would log in as the first device that it finds in the database. `dsn` is a `postgres://` URL (for any
    other text the library would silently make a file). ValueError for other values.

    `on_event` is called in the loop, in order, and awaited when it returns an awaitable; while it works the library
    waits. It must not await `close`. `proxy` is a URL, http or socks5.
    """

    def __init__(  # noqa: PLR0913 - what a session consists of
        self,
        *,
        tenant: str,
        dsn: str,
        device: str | None,
        gate: ConnectGate,
        on_event: Callable[[Event], Awaitable[None] | None],
        proxy: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not dsn.startswith(("postgres://", "postgresql://")):
            raise ValueError("the database of a WhatsApp session is a postgres:// URL")
        if device is not None and not _DEVICE.fullmatch(device):
            raise ValueError(f"{device!r} is not a device's own jid, such as 628123456789:7@s.whatsapp.net")
        self._tenant, self._dsn, self._device, self._gate, self._proxy = tenant, dsn, device, gate, proxy
        self._clock = clock or Clock()
        self._intake = Intake(on_event, tenant=tenant)
        self._key = device.partition("@")[0] if device else f"new-{tenant}-{next(_numbers)}"
        self._library: Library | None = None
        self._task: asyncio.Task[None] | None = None
        self._leaving: asyncio.Future[None] | None = None
        self._taken = asyncio.get_running_loop().create_future()
        self._closing = False
        self._has_device = device is not None
        self._number = device.partition(":")[0] if device else None
        self._codes = 0

    async def open(self, timeout: float = 60) -> None:
        """Connect; returns when the library has taken over: for a stored device when it has shaken hands with WhatsApp
        (Connected or a refusal comes as an event), for a new one when the first QR code is shown.

        Raises core.errors.OpenFailed: `unreachable`, `untrusted_certificate`, `handshake_failed`, `database`,
        `timed_out`, `already_open`, `closed`, `unknown_error`. After `timed_out` the library is still at it; other
        sessions can send, but none can connect or stop before it gives up. `close` is due after a failure too.
        """
        if self._closing or self._library is not None:
            raise OpenFailed("closed" if self._closing else "already_open")
        if self._key in _open_keys:
            raise OpenFailed("already_open", f"{self._key} is in use in this process")
        _open_keys.add(self._key)
        async with self._gate.alone() as turn:
            if self._closing:
                raise OpenFailed("closed")
            self._library = self._new_library()
            self._task = await self._library.begin(self._proxy)
            try:
                await asyncio.wait({self._task, self._taken}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._hand_over(turn, self._task)
        self._check_opened(self._task)

    def _new_library(self) -> Library:
        library = Library(
            tenant=self._tenant, dsn=self._dsn, device=self._device, key=self._key, gate=self._gate
        )  # fmt: skip
        library.callback, library.qr_shown = self._on_callback, self._on_qr
        library.pairing_over, library.not_readable = self._on_pairing_over, self._intake.put
        return library

    def _hand_over(self, turn: Turn, task: asyncio.Task[None]) -> None:
        """While the library still hangs in its dial nobody else may connect: it will look into its maps afterwards."""
        task.add_done_callback(self._on_ended)
        if task.done() or self._taken.done():
            return
        turn.kept = True
        turn.admit_calls()
        for end in (task, self._taken):
            end.add_done_callback(lambda _: turn.end())

    def _check_opened(self, task: asyncio.Task[None]) -> None:
        if self._taken.done():
            return
        if not task.done():
            raise OpenFailed("timed_out", "the library still hangs in its dial")
        failure = task.exception()
        raise explain_open(str(failure) if failure else "the library ended at once")

    async def identity(self) -> Identity:
        """Who the library is logged in as: compare it with the bound jid after Connected."""
        me = await self._request(self._ready().get_me())
        return Identity(jid=device_jid(me.JID), lid=device_jid(me.LID), push_name=me.PushName)

    async def send(
        self,
        to: str,
        text: str,
        *,
        quote: Quote | None = None,
        mentions: tuple[str, ...] = (),
        secret: bytes | None = None,
    ) -> Sent:
        """Send a text to a recipient key; returns when WhatsApp has it, after 75 seconds at most (a lost socket adds
        up to five). `secret` is 32 bytes of messageSecret by which the message can be found in whatsmeow's tables.

        Raises core.errors.SendFailed, whose causes stand in core.transport.whatsapp.errors.
        """
        library = self._ready()
        message = text_message(text, quote, mentions, secret)
        try:
            answer = await library.send_message(address(to), message)
        except NeonizeError as error:
            raise explain_send(str(error)) from error
        return Sent(wa_id=answer.ID, at=datetime.fromtimestamp(answer.Timestamp, UTC))

    async def typing(self, to: str, on: bool = True) -> None:
        """Show or end "typing…" in a chat. Raises SendFailed."""
        state = ChatPresence.CHAT_PRESENCE_COMPOSING if on else ChatPresence.CHAT_PRESENCE_PAUSED
        media = ChatPresenceMedia.CHAT_PRESENCE_MEDIA_TEXT
        await self._request(self._ready().send_chat_presence(address(to), state, media))

    async def pair_code(self, number: str) -> str:
        """The eight characters to be typed on the phone with `number` (digits). Ask after the first QrShown; the QR
        codes stay valid beside it, and when they run out the code does too. Raises SendFailed."""
        return str(await self._request(self._ready().PairPhone(number, True)))

    async def mark_read(self, ids: tuple[str, ...], *, chat: str, sender: str) -> None:
        """Tell `sender` that their messages were read. Raises SendFailed."""
        now = int(self._clock.now().timestamp())
        read = self._ready().mark_read(
            *ids, chat=address(chat), sender=address(sender), receipt=ReceiptType.READ, timestamp=now
        )
        await self._request(read)

    async def on_whatsapp(self, numbers: Sequence[str]) -> dict[str, bool]:
        """Which of these numbers (digits) have WhatsApp; a number that WhatsApp said nothing about is left out. Raises
        SendFailed."""
        answers = await self._request(self._ready().is_on_whatsapp(*(f"+{number}" for number in numbers)))
        return {answer.Query.removeprefix("+"): answer.IsIn for answer in answers}

    async def logout(self) -> None:
        """Unlink this device from its phone and delete its rows; no event tells of it. Close the client afterwards.
        Raises SendFailed."""
        await self._request(self._ready().logout())

    async def close(self, timeout: float = 10) -> bool:
        """Disconnect, hand over what had arrived, and stop: within `timeout` seconds whatever the library does.

        False when it still holds a thread then: always for a device that was never paired, and while a dial hangs.
        Such a process is ended with os._exit, as a normal exit would wait for that thread. What `on_event` had not yet
        taken in by then is dropped, and logged.
        """
        if asyncio.current_task() is self._intake.task:
            raise RuntimeError("close() would wait for the on_event that called it: start a task")
        first, self._closing = not self._closing, True
        library, task = self._library, self._task
        if library is not None and task is not None and first:
            ending = asyncio.get_running_loop().create_task(self._disconnect(library, task))
            await asyncio.wait({ending}, timeout=timeout * 0.6)
            await self._intake.close()
            # The thread of a device that was never paired stays for ever: do not wait for it.
            await asyncio.wait({ending, task} if self._has_device else {ending}, timeout=timeout * 0.4)
        await self._intake.close()
        freed = task is None or task.done()
        if freed:
            _open_keys.discard(self._key)
        return freed

    async def _disconnect(self, library: Library, task: asyncio.Task[None]) -> None:
        """Stop in two steps: a disconnect lets the library hand over what it has, a stop forgets it."""
        try:
            if self._taken.done() and not task.done():
                await library.disconnect()
                await self._intake.quiet(QUIET)
            async with self._gate.alone():
                await library.stop()
        except Exception:
            log.exception("%s: not stopped", self._tenant, extra={"action": "whatsapp_stop_failed"})

    def _ready(self) -> Library:
        """The library, when it may be asked: Go ends the process at a call for a client that it does not have."""
        if self._library is None or self._closing or not self._taken.done():
            raise SendFailed("not_open", retry=True)
        return self._library

    @staticmethod
    async def _request(answer: Awaitable[Any]) -> Any:
        try:
            return await answer
        except NeonizeError as error:
            raise explain_request(str(error)) from error

    # On Go's thread, one at a time and in order.

    def _on_callback(self, code: int, raw: bytes) -> None:
        self._note_taken()
        # 0 is the first callback, and comes only once there is a device.
        self._has_device = True
        if code and (event := translate(code, raw, self._clock.now())) is not None:
            self._intake.put(self._with_own_number(event))

    def _with_own_number(self, event: Event) -> Event:
        """What another device of this account sent comes under its lid alone, but we know whose it is."""
        if isinstance(event, Paired):
            self._number = event.jid.partition(":")[0]
        if isinstance(event, Received) and event.from_me and self._number:
            return replace(event, sender=self._number, phone=self._number)
        return event

    def _on_qr(self, text: str) -> None:
        self._note_taken()
        self._codes += 1
        valid = FIRST_QR if self._codes == 1 else NEXT_QR
        self._intake.put(QrShown(text, self._clock.now() + valid))

    def _on_pairing_over(self, how: str) -> None:
        """Paired or not, no more codes. When not, the library waits for ever for a device that will never be, and
        keeps to itself the event that would tell why."""
        self._note_taken()
        if how == "err-client-outdated":
            self._intake.put(ClientOutdated())
        if reason := _PAIRING_OVER.get(how):
            self._intake.put(PairingFailed(reason))

    def _note_taken(self) -> None:
        if not self._taken.done():
            self._taken.get_loop().call_soon_threadsafe(self._set_taken)

    def _set_taken(self) -> None:
        if not self._taken.done():
            self._taken.set_result(None)

    def _on_ended(self, task: asyncio.Task[None]) -> None:
        """In the loop: the library's own loop is over, because it could not encode an event. Its socket lives on and
        would acknowledge messages that nobody will ever see, so it is disconnected at once."""
        failure = None if task.cancelled() else task.exception()
        if not self._taken.done() or self._closing or self._library is None:
            return
        reason = str(failure or "the library ended")
        for event in (event for unset, event in _NOT_ENCODED.items() if unset in reason):
            self._intake.put_now(event)
        self._intake.put_now(Ended(reason))
        self._leaving = asyncio.ensure_future(self._library.disconnect())
