"""The sessions as seen from a process that holds none: what is known of them, and calls to who holds them.

The rows of `sessions` are kept in memory; a NOTIFY tells which of them has changed. A call is a row in `commands`,
which the supervisor that can carry it out claims; its answer comes back the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from core.errors import Conflict, OverLimit, StatementRejected, Unavailable
from core.transport.base import SessionStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from core.clock import Clock
    from core.session_rows import CommandKind, Pairing, SessionRow
    from db.session_store import SessionStore

log = logging.getLogger(__name__)

PAIRING_PAUSE = 60.0
"""Seconds between two attempts of a tenant to pair."""

ANSWER_WITHIN = 20.0
"""Seconds that a call may take."""

RECONNECT_SHOWS = 1.0
"""Seconds for a session that is opened anew to say so."""

PAIR_LINK_LIVES = 600.0
"""Seconds for which a pairing link is good."""

_NEVER_PAIRED = "no WhatsApp number is linked yet: pair it (GET /api/qr, or run.py tenant pair)"
_NOBODY = "its session process is gone; another one takes over within seconds"


class NoSessionProcess(Unavailable):
    """Nobody carried a call out in time."""


class RemoteSessions:
    """What doors ask of sessions."""

    def __init__(
        self,
        store: SessionStore,
        clock: Clock,
        on_change: Callable[[SessionRow, SessionRow | None], None],
        *,
        sandbox: bool = False,
    ) -> None:
        """`on_change(now, before)`: a session's row was read, and its state or reason is another. Not of what stood
        there when all were first read: that is no news. `sandbox`: who pairs, pairs with a WhatsApp on loopback."""
        self._store, self._clock, self._on_change, self._sandbox = store, clock, on_change, sandbox
        self._rows: dict[str, SessionRow] = {}
        self._loaded = False
        self._stale: set[str] = set()
        self._reader: asyncio.Task[None] | None = None
        self._news: dict[str, set[asyncio.Event]] = {}
        self._answers: set[asyncio.Event] = set()
        self._looking = asyncio.Lock()
        self._codes: dict[str, tuple[str, str | None]] = {}  # tenant -> for which number it was shown which code
        self._forced: dict[str, datetime | None] = {}  # tenant -> since when it is pairing, with whatever number
        self._pairing_turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    # What is known

    def status(self, tenant: str) -> SessionStatus:
        """The state as last heard of. A session that nobody holds does not work, whatever its row says."""
        row = self._rows.get(tenant)
        if row is None:
            return SessionStatus("unpaired", _NEVER_PAIRED, sandbox=self._sandbox)
        state, reason = row.state, row.reason
        just_linked = row.process is None and state == "connecting"  # on its way from one process to another
        if not row.held and not just_linked and state in ("connecting", "connected", "restricted", "pairing"):
            state, reason = ("disconnected" if row.jid else "unpaired"), _NOBODY
        if state == "unpaired" and reason is None:
            reason = _NEVER_PAIRED
        phone = row.jid.partition(":")[0].partition("@")[0] if row.jid else None
        seen = row.phone_last_seen if row.jid else None
        return SessionStatus(state, reason, phone, row.since, row.sandbox if row.jid else self._sandbox, seen)

    def pairing(self, tenant: str) -> Pairing | None:
        """What a person needs to link the device, while pairing is under way."""
        row = self._rows.get(tenant)
        return row.pairing if row and row.held and row.state == "pairing" else None

    async def load(self) -> None:
        """Read all rows: at the start, and when notifications may have been missed. Raises Unavailable."""
        await self._look(None)

    def heard(self, tenant: str) -> None:
        """The tenant's row has changed: read it soon."""
        self._stale.add(tenant)
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read(), name="sessions")

    async def _read(self) -> None:
        while self._stale:
            tenant = self._stale.pop()
            with contextlib.suppress(Unavailable, StatementRejected):  # `load` follows when the database is back
                await self._look(tenant)

    async def _look(self, tenant: str | None) -> None:
        async with self._looking:  # or an older sight might be taken after a newer one, and stay
            rows = await self._store.sessions(tenant)
            asked = self._rows.keys() if tenant is None else {tenant}
            for gone in asked - {row.tenant for row in rows}:
                self._rows.pop(gone, None)
            self._take(rows)
            self._loaded |= tenant is None

    def _take(self, rows: list[SessionRow]) -> None:
        for row in rows:
            before = self._rows.get(row.tenant)
            self._rows[row.tenant] = row
            for news in self._news.get(row.tenant, ()):
                news.set()
            if self._loaded and (before is None or (before.state, before.reason) != (row.state, row.reason)):
                self._on_change(row, before)

    async def wait(self, tenant: str, timeout: float) -> None:
        """Until something about the tenant's session changes; `timeout` seconds at most."""
        with self._registered(self._news.setdefault(tenant, set())) as news, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await news.wait()

    @contextlib.contextmanager
    def _registered(self, among: set[asyncio.Event]) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        among.add(event)
        try:
            yield event
        finally:
            among.discard(event)

    # Calls

    async def pair(self, tenant: str, number: str | None = None, *, force: bool = False) -> Pairing:
        """Begin to pair unless that is under way, and wait for the QR code, or, for `number` (digits), for the code.
        `force`: also with another WhatsApp number than before.

        Raises Conflict (`already_paired`; `pairing_ended` with the reason), OverLimit (`pairing_too_soon`) and
        NoSessionProcess.
        """
        # Whoever looks again and again at an attempt that is forced already, begins nothing.
        force = force and (self.pairing(tenant) is None or self._forced.get(tenant) != self.status(tenant).since)
        if number is None and not force and (shown := self.pairing(tenant)) is not None and shown.qr:
            return shown
        # One after the other: who comes second sees what the first one began, and takes no other number's code.
        async with self._pairing_turns[tenant]:
            return await self._pair(tenant, number, force=force)

    async def _pair(self, tenant: str, number: str | None, *, force: bool) -> Pairing:
        before, shown = self.status(tenant), self.pairing(tenant)
        if before.phone is not None or before.state in ("connected", "connecting", "restricted"):
            raise Conflict("already_paired", "a WhatsApp number is linked; log out first to link another")
        # WhatsApp makes another code each time that it is asked for one, while somebody may be typing the one before.
        if number is not None and not force and shown is not None and self._has_code(tenant, number, shown):
            return shown
        if shown is None or number is not None or force:
            await self._begin(tenant, number, force=force)
        begun = await self._shown(tenant, before, by_code=number is not None, old_code=shown.code if shown else None)
        if number is not None:
            self._codes[tenant] = number, begun.code
        if force:
            self._forced[tenant] = self.status(tenant).since
        return begun

    def _has_code(self, tenant: str, number: str, shown: Pairing) -> bool:
        """Whether what is shown is this number's code, as far as is known here, and good."""
        is_good = shown.code_until is not None and shown.code_until > self._clock.now()
        return is_good and self._codes.get(tenant) == (number, shown.code)

    async def _begin(self, tenant: str, number: str | None, *, force: bool) -> None:
        if number is None or self.pairing(tenant) is None:
            wait = await self._store.ask_to_pair(tenant, PAIRING_PAUSE)
            if wait is not None and self.status(tenant).state != "pairing":
                raise OverLimit("pairing_too_soon", "pairing may begin once a minute", retry_after=max(wait, 1.0))
        arguments: dict[str, Any] = {"number": number} if number else {}
        await self._call(tenant, "pair", arguments | ({"force": True} if force else {}))

    async def _shown(self, tenant: str, before: SessionStatus, *, by_code: bool, old_code: str | None) -> Pairing:
        end = self._clock.monotonic() + ANSWER_WITHIN
        while (left := end - self._clock.monotonic()) > 0:
            pairing, now = self.pairing(tenant), self.status(tenant)
            # A code that was shown before may be another phone's.
            if pairing is not None and (pairing.code not in (None, old_code) if by_code else pairing.qr):
                return pairing
            if now.state == "connected":
                raise Conflict("already_paired", "a WhatsApp number is linked")
            if now.state in ("unpaired", "disconnected") and now.since != before.since and now.reason != _NEVER_PAIRED:
                raise Conflict("pairing_ended", now.reason or "pairing has ended")
            await self.wait(tenant, min(left, 1.0))
        raise NoSessionProcess("WhatsApp showed no code in time; see the state and its reason in /api/status")

    async def logout(self, tenant: str) -> None:
        """Unlink the tenant's device at WhatsApp and forget it here. Raises Conflict (`not_paired`) and
        NoSessionProcess."""
        if not self._is_linked(tenant):
            raise Conflict("not_paired", "no WhatsApp number is linked")
        try:
            await self._call(tenant, "logout", {})
        except Conflict as refused:
            # Its session was closed before the call arrived, because somebody else has logged it out.
            if refused.code == "not_connected" and not self._is_linked(tenant):
                raise Conflict("not_paired", "no WhatsApp number is linked any more") from refused
            raise

    def _is_linked(self, tenant: str) -> bool:
        row = self._rows.get(tenant)
        return row is not None and row.jid is not None

    async def reconnect(self, tenant: str) -> None:
        """Close the tenant's connection and open it again; that is under way then, if it can be soon. Raises as
        `logout`."""
        if not self._is_linked(tenant):
            raise Conflict("not_paired", "no WhatsApp number is linked; pair one")
        before = self.status(tenant)
        await self._call(tenant, "reconnect", {})
        end = self._clock.monotonic() + RECONNECT_SHOWS
        while before.state != "connecting" and (left := end - self._clock.monotonic()) > 0:
            if self.status(tenant) != before:
                break
            await self.wait(tenant, left)

    async def _call(self, tenant: str, kind: CommandKind, arguments: dict[str, Any]) -> None:
        with self._registered(self._answers) as answered:
            number = await self._store.call(tenant, kind, arguments, ANSWER_WITHIN)
            end = self._clock.monotonic() + ANSWER_WITHIN
            while (left := end - self._clock.monotonic()) > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left, 2.0)):
                        await answered.wait()
                answered.clear()
                if (answer := await self._store.result(number)) is not None:
                    # Rows are written before answers, but news of the two may overtake each other.
                    await self._look(tenant)
                    if "refused" in answer:
                        raise Conflict(answer["refused"], answer["detail"])
                    return
        raise NoSessionProcess(f"nobody carried out {kind!r} in {ANSWER_WITHIN:g} s; is `run.py serve` running?")

    def answered(self) -> None:
        """Some command has its answer."""
        for event in self._answers:
            event.set()

    # Links to the pairing page

    async def pair_link(self, tenant: str, *, force: bool = False) -> tuple[str, datetime]:
        """(a token that opens the tenant's pairing page, until when). The token is told once and kept nowhere. `force`:
        who opens it may link another number than before."""
        token = f"pl_{secrets.token_urlsafe(32)}"
        return token, await self._store.add_pair_link(_digest(token), tenant, PAIR_LINK_LIVES, force=force)

    async def opened_by(self, token: str) -> tuple[str, bool] | None:
        """(whose pairing page the token opens, `force`); None when it opens none."""
        return await self._store.pair_link(_digest(token))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
