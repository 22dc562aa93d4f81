"""One tenant's WhatsApp session: opened by its own device, kept open, closed, written down in each of its states.

What WhatsApp tells it is dealt with in `core.sessions.events`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING

from core.errors import OpenFailed, SendFailed, StatementRejected, Unavailable
from core.sessions.events import Turn, turn
from core.sessions.logins import FORGOTTEN
from core.sessions.patience import AGAIN, HOPELESS, Patience
from core.sessions.references import is_known, quote_of
from core.sessions.resending import Resending
from core.sessions.standing import Standing, until_written
from core.sessions.takeover import TakeOver
from core.sessions.timelock import Timelock
from core.sessions.vitals import Vitals
from core.transport.wire import Arriving, AskedAgain, Connected, Replaced

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from core.model import Outgoing, SessionState
    from core.session_rows import Lease
    from core.sessions.surroundings import Surroundings
    from core.transport.base import Sent, SessionStatus
    from core.transport.whatsapp.client import Client
    from core.transport.wire import Event

log = logging.getLogger(__name__)

HALF_DEAD = 30.0
"""Seconds without a connection after which a session is opened anew: the library's own dialling has got stuck."""

_CLOSE = 10.0
"""Seconds for closing a client."""

_UNLINK = 2.0
"""Seconds that a session which is closed leaves to its logout, if that is under way."""

_OUTAGE = 3600.0
"""Seconds for which a client that was closed because PostgreSQL is away may keep what has arrived."""


class Session:
    """Made for a tenant whose lease this process has."""

    def __init__(self, lease: Lease, around: Surroundings) -> None:
        self.tenant, self.jid = lease.tenant, lease.jid
        self._lease, self._around, self._clock = lease, around, around.clock
        self._standing = Standing(lease.tenant, around.store, around.clock, process=around.process)
        self._timelock = Timelock(around.clock, around.timelock_pause, lease)
        self._take_over = TakeOver(around.clock, lease)
        self._client: Client | None = None
        self._over = self._closed = False
        self._patience = Patience(around.clock)
        self._vitals = Vitals(lease.tenant, around.store, around.clock, process=around.process)
        self._resending = Resending(lease.tenant, around.store, around.clock, around.usable)
        self._task: asyncio.Task[None] | None = None
        self._working = asyncio.Lock()
        self._closing: asyncio.Task[bool] | None = None
        self._anew: asyncio.TimerHandle | None = None
        self._unlinking: asyncio.Task[None] | None = None

    @property
    def status(self) -> SessionStatus:
        """The state as this process knows it."""
        return self._standing.status

    @property
    def fence(self) -> int:
        """Of the lease under which it was opened last."""
        return self._lease.fence

    @property
    def ready(self) -> bool:
        """Whether a message may be tried now."""
        return self.status.state in ("connected", "restricted")

    @property
    def known_only(self) -> bool:
        """Whether WhatsApp would refuse new conversations now."""
        return self._timelock.in_force and not self._timelock.lets_try

    # Opening and closing. One task at a time does either, so that they never meet inside the library.

    def open(self, lease: Lease | None = None) -> None:
        """Connect as the tenant's own device, soon; Connected is an event. `lease`: as it was renewed."""
        if lease is not None:
            self._lease = lease
            self._take_over.note(lease)
        self._go_on(self._open)

    def suspend(self) -> None:
        """PostgreSQL is away: disconnect at once, so that WhatsApp keeps what comes in. `open` goes on."""
        self._over = True
        self._standing.show("disconnected", "PostgreSQL is away")
        self._go_on(partial(self._drop, _OUTAGE))

    async def close(self) -> None:
        """Disconnect; what has arrived is written down first, and a logout that is under way still reaches WhatsApp."""
        if self._unlinking is not None:
            await asyncio.wait([self._unlinking], timeout=_UNLINK)
        self._closed = self._over = True
        if self._task is not None:
            self._task.cancel()
        async with self._working:
            await self._drop()

    def _go_on(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do this in place of what is being done."""
        if self._task is not None:
            self._task.cancel()
        if not self._closed:
            self._task = asyncio.create_task(self._alone(work), name=f"session {self.tenant}")

    async def _alone(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with self._working:
            try:
                await work()
            except Exception:
                log.exception("%s: the session failed", self.tenant,
                              extra={"action": "session.crashed", "tenant": self.tenant})  # fmt: skip
                self._open_anew_in(AGAIN[-1])

    async def _open(self) -> None:
        await self._drop()
        while True:
            try:
                if (problem := await self._unfit()) is not None:
                    await self._standing.enter(*problem)
                    return self._around.rests(self.tenant)
                if await self._connect():
                    return None
            except Unavailable as error:
                log.warning("%s waits: %s", self.tenant, error,
                            extra={"action": "session.database_away", "tenant": self.tenant})  # fmt: skip
            except (OpenFailed, StatementRejected) as error:
                await self._standing.enter("disconnected", f"the database is not ready for it ({error}); trying again")
            await self._patience.pause()

    async def _unfit(self) -> tuple[SessionState, str] | None:
        """Why this login cannot be opened. Opening a device that is not in the store would end the process."""
        if self.jid is None:
            return "unpaired", "no WhatsApp number is linked"
        if self._lease.sandbox != self._around.sandbox:
            other = "a WhatsApp on loopback (run.py serve --sandbox URL)" if self._lease.sandbox else "WhatsApp itself"
            return "disconnected", f"this login belongs to {other}"
        problem = await self._around.logins.unfit(self.tenant, self.jid)
        if problem is not None and problem[0] == "unpaired":
            await self._around.store.unbind(self._around.process, self.tenant)
        return problem

    async def _connect(self) -> bool:
        await self._standing.enter("connecting", None)
        client = self._around.client(
            self.tenant, self.jid, self._lease.fence, lambda event: self._on_event(client, event)
        )
        self._client, self._over = client, False
        self._resending.begin()
        try:
            async with self._around.turn:
                self._around.opening(self.tenant, over=False)
                try:
                    await client.open()
                finally:
                    self._around.opening(self.tenant, over=True)
        except OpenFailed as error:
            log.warning("%s cannot connect: %s", self.tenant, error,
                        extra={"action": "session.open_failed", "tenant": self.tenant})  # fmt: skip
            await self._drop()
            await self._standing.enter("disconnected", f"could not connect ({error}); trying again")
            self._despair(error)
            return False
        self._patience.opened()
        self._watch()
        return True

    def _despair(self, error: OpenFailed) -> None:
        """A client of which the library does not let go cannot be opened again in this process."""
        if self._patience.is_lost_at(error.cause):
            self._around.give_up(f"the library has not let go of {self.tenant} for {HOPELESS:g} s")

    async def _drop(self, within: float = _CLOSE) -> None:
        """Close the client. That goes on to its end also when who waits for it is told to do something else."""
        client, self._client = self._client, None
        if self._anew is not None:
            self._anew.cancel()
        if client is not None:
            self._closing = asyncio.create_task(client.close(within), name=f"closing {self.tenant}")
        if self._closing is None:
            return
        # A client that was closed with an hour's patience has PostgreSQL back, whoever waits with less.
        await asyncio.wait([self._closing], timeout=within + 1)
        closing = self._closing
        if closing.done():
            self._closing = None
        if not closing.done() or closing.exception() is not None or not closing.result():
            log.warning("the library did not let go of %s in time", self.tenant,
                        extra={"action": "session.close_late", "tenant": self.tenant})  # fmt: skip

    async def logout(self) -> None:
        """Unlink the device at WhatsApp, and forget it. Who asks meanwhile, or once it is done, hears the same. Raises
        SendFailed; then nothing has changed."""
        unlinking = self._unlinking
        if unlinking is None or (unlinking.done() and unlinking.exception() is not None):
            unlinking = self._unlinking = asyncio.create_task(self._unlink(), name=f"logout {self.tenant}")
        await asyncio.shield(unlinking)

    async def _unlink(self) -> None:
        client = self._client
        if client is None or self.status.state not in ("connected", "restricted"):
            raise SendFailed("not_connected", retry=True)
        await client.logout()
        self._ends(Turn("logged_out", "logged out on request: pair again", rests=True, unbinds=True))
        if self._task is not None:
            await asyncio.wait([self._task])

    async def forget(self) -> None:
        """Somebody deleted the login: unlink the device at WhatsApp if that can be, and forget it in any case."""
        if self._client is not None and self.status.state in ("connected", "restricted"):
            self._unlinking = asyncio.create_task(self._client.logout(), name=f"logout {self.tenant}")
            with contextlib.suppress(SendFailed):
                await self._unlinking
        self._ends(Turn("unpaired", FORGOTTEN, rests=True, unbinds=True))

    # What happens to it

    async def _on_event(self, client: Client, event: Event) -> None:
        await self._vitals.look_at(event)
        if isinstance(event, Arriving):
            await self._around.intake.take(self.tenant, event)
        elif isinstance(event, AskedAgain):
            await self._resending.answer(event)
        elif client is self._client and not self._over:  # what one that is being closed says of its state is no news
            await self._on_news(client, event)

    async def _on_news(self, client: Client, event: Event) -> None:
        if isinstance(event, Connected):
            await self._connected(client)
        elif isinstance(event, Replaced) and (times := self._take_over.answer()) is not None:
            self._patience.failed(times)  # the pause before the next opening grows with each
            log.warning("%s was replaced after a take-over", self.tenant,
                        extra={"action": "session.reclaimed", "tenant": self.tenant})  # fmt: skip
            self._ends(Turn("disconnected", "its former holder connected once more; opening it again"))
        elif (now := turn(event)) is not None:
            log.warning("%s is %s: %s", self.tenant, now.state, now.reason,
                        extra={"action": f"session.{now.state}", "tenant": self.tenant})  # fmt: skip
            if now.state == "client_outdated":
                await self._vitals.outdated(now.reason)
            if now.ends:
                self._ends(now)
            else:
                await self._standing.enter(now.state, now.reason)
                self._watch()

    async def _connected(self, client: Client) -> None:
        """Nothing goes out before it is certain as whom it would go."""
        try:
            me = await client.identity()
        except SendFailed as error:
            return self._ends(Turn("disconnected", f"WhatsApp did not say as whom it is logged in ({error})"))
        if client is not self._client or self._over:
            return None
        if me.jid != self.jid:
            log.critical("%s was logged in as %s and not as %s: closed", self.tenant, me.jid, self.jid,
                         extra={"action": "session.wrong_identity", "tenant": self.tenant})  # fmt: skip
            return self._ends(Turn("disconnected", f"WhatsApp logged in as {me.jid}: closed", rests=True))
        self._patience.connected()
        await self._vitals.connected()
        log.info("%s is connected as %s", self.tenant, self.jid,
                 extra={"action": "session.connected", "tenant": self.tenant})  # fmt: skip
        locked = self._timelock.in_force
        await self._standing.enter("restricted" if locked else "connected", self._timelock.words if locked else None)
        self._watch()
        return self._around.usable(self.tenant)

    def _ends(self, now: Turn) -> None:
        """The client is of no more use: from this moment nothing is sent, and it is closed by a task of its own, as
        that waits for the handler of its events to return."""
        self._over = True
        self._standing.show(now.state, now.reason)
        self._go_on(partial(self._end, now))

    async def _end(self, now: Turn) -> None:
        await self._drop()
        if now.unbinds:
            unbind = partial(self._around.store.unbind, self._around.process, self.tenant)
            await until_written(unbind, self._clock, self.tenant)
        await self._standing.enter(now.state, now.reason)
        if now.rests:
            return self._around.rests(self.tenant)
        await (self._patience.sit_out(now.until) if now.until is not None else self._patience.pause())
        return await self._open()

    def _watch(self) -> None:
        """The library dials by itself, but not for ever in vain."""
        if self._anew is not None:
            self._anew.cancel()
        if self.status.state in ("connecting", "disconnected"):
            self._open_anew_in(HALF_DEAD)

    def _open_anew_in(self, seconds: float) -> None:
        self._anew = asyncio.get_running_loop().call_later(seconds, self.open)

    # Sending

    async def send(self, message: Outgoing, secret: bytes | None = None) -> Sent:
        """Raises SendFailed."""
        client = self._client
        if client is None or self._over or not self.ready:
            raise SendFailed("not_connected", retry=True)
        quote = await quote_of(message, self._around.store, (self.jid or "").partition(":")[0])
        self._resending.hand_over(message.id)
        try:
            sent = await client.send(message.to, message.content, quote=quote, mentions=message.mentions, secret=secret)
        except SendFailed as error:
            if error.cause == "lease_lost" and client is self._client:
                self._around.lost(self.tenant)
            if error.cause != "reach_out_timelock":
                raise
            raise SendFailed(error.cause, retry=True, detail=error.detail, pause=await self._refused()) from error
        if self._timelock.in_force and not await is_known(message, self._around.store):
            self._timelock.lifted()
            await self._note_timelock(0.0)
            if self.status.state == "restricted":
                await self._standing.enter("connected", None)
        return sent

    async def _refused(self) -> float:
        """In how many seconds the next may be tried."""
        pause = self._timelock.refused()
        asyncio.get_running_loop().call_later(pause, self._around.usable, self.tenant)
        if self.status.state in ("connected", "restricted"):
            await self._standing.enter("restricted", self._timelock.words)
        await self._note_timelock(pause)
        return pause

    async def _note_timelock(self, pause: float) -> None:
        """For whoever holds the session next."""
        refusals, store = self._timelock.refusals, self._around.store
        note = partial(store.timelocked, self._around.process, self.tenant, refusals, pause)
        await until_written(note, self._clock, self.tenant)

    async def typing(self, to: str) -> None:
        """Show that something is being written. It is a courtesy: failing is no failure."""
        if self._client is not None and self.status.state == "connected":
            with contextlib.suppress(SendFailed):
                await self._client.typing(to)
