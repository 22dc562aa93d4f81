"""One tenant's WhatsApp session: opened by its own device, kept open, closed, written down in each of its states.

What WhatsApp tells it is dealt with in `core.sessions.events`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Protocol

from core.errors import OpenFailed, SendFailed, Unavailable
from core.sessions.events import Turn, turn
from core.transport.base import SessionStatus
from core.transport.wire import Connected, Quote, Receipt, Received

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

    from core.clock import Clock
    from core.model import Outgoing, SessionState
    from core.session_rows import Lease
    from core.sessions.intake import Intake
    from core.transport.base import Sent
    from core.transport.whatsapp.client import Client
    from core.transport.wire import Event
    from db.session_store import SessionStore

    OnEvent = Callable[[Event], Awaitable[None] | None]

log = logging.getLogger(__name__)

HALF_DEAD = 90.0
"""Seconds without a connection after which a session is opened anew: the library's own dialling has got stuck."""

_PROBES = (60.0, 300.0, 900.0, 3600.0)
"""Seconds until the next message is tried after WhatsApp refused one with code 463, and again, and again."""

_AGAIN = (2.0, 5.0, 15.0, 60.0)
"""Seconds until a session that could not be opened is tried again."""

_OUTAGE = 3600.0
"""Seconds for which a client that was closed because PostgreSQL is away may keep what has arrived."""

_RETRY = 0.2


class Surroundings(Protocol):
    """What a session needs from its process."""

    process: int
    sandbox: bool
    clock: Clock
    store: SessionStore
    intake: Intake
    turn: asyncio.Lock
    """Held by whoever is connecting: it is the moment in which processes have died, and one tenant at a time shall be
    under suspicion."""

    def client(self, tenant: str, device: str | None, on_event: OnEvent) -> Client:
        """A client that is not open yet."""

    def opening(self, tenant: str, *, over: bool) -> None:
        """Tell the supervisor that the moment begins, or is over, in which processes have died."""

    def usable(self, tenant: str) -> None:
        """Messages may go."""

    def rests(self, tenant: str) -> None:
        """The session came to an end that trying again would not mend."""


class Session:
    """Made for a tenant whose lease this process has."""

    def __init__(self, lease: Lease, around: Surroundings) -> None:
        self.tenant, self.jid = lease.tenant, lease.jid
        self._lease, self._around = lease, around
        self._client: Client | None = None
        self._closing: asyncio.Task[bool] | None = None
        self._status = SessionStatus("disconnected")
        self._failures = self._refusals = 0
        self._probe_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self._half_dead: asyncio.TimerHandle | None = None

    @property
    def status(self) -> SessionStatus:
        """The state as this process knows it."""
        return self._status

    @property
    def ready(self) -> bool:
        """Whether a message may be tried now."""
        state = self._status.state
        return state == "connected" or (state == "restricted" and self._around.clock.monotonic() >= self._probe_at)

    # Opening and closing. One task at a time does either, so that they never meet inside the library.

    def open(self, lease: Lease | None = None) -> None:
        """Connect as the tenant's own device, soon; Connected is an event. `lease`: as it was renewed."""
        self._lease = lease or self._lease
        self._go_on(self._open())

    def suspend(self) -> None:
        """PostgreSQL is away: disconnect at once, so that WhatsApp keeps what comes in. `open` goes on."""
        self._status = SessionStatus("disconnected", "PostgreSQL is away")
        self._go_on(self._drop(within=_OUTAGE))

    async def close(self, reason: str | None = None) -> None:
        """Disconnect; what has arrived is written down first. With `reason` the row says so."""
        before, self._task = self._task, None
        await self._stop(before)
        await self._drop()
        if reason is not None:
            await self.enter("disconnected", reason)

    def _go_on(self, work: Coroutine[Any, Any, None]) -> None:
        before = self._task
        self._task = asyncio.create_task(self._after(before, work), name=f"session {self.tenant}")

    async def _after(self, before: asyncio.Task[None] | None, work: Coroutine[Any, Any, None]) -> None:
        try:
            await self._stop(before)
        except BaseException:
            work.close()
            raise
        await work

    @staticmethod
    async def _stop(task: asyncio.Task[None] | None) -> None:
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait([task])

    async def _open(self) -> None:
        await self._drop()
        while True:
            try:
                if (problem := await self._unfit()) is not None:
                    await self.enter(*problem)
                    return self._around.rests(self.tenant)
                if await self._connect():
                    return None
            except Unavailable as error:
                log.warning("%s waits: %s", self.tenant, error,
                            extra={"action": "session.database_away", "tenant": self.tenant})  # fmt: skip
            pause = _AGAIN[min(self._failures, len(_AGAIN) - 1)]
            self._failures += 1
            await self._around.clock.sleep(pause)

    async def _connect(self) -> bool:
        await self.enter("connecting", None)
        self._client = client = self._around.client(self.tenant, self.jid, self._on_event)
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
            await self.enter("disconnected", f"could not connect ({error}); trying again")
            return False
        self._watch()
        return True

    async def _unfit(self) -> tuple[SessionState, str] | None:
        """Why this login cannot be opened. Opening a device that is not in the store would end the process."""
        if self.jid is None:
            return "unpaired", "no WhatsApp number is linked"
        if self._lease.sandbox != self._around.sandbox:
            other = "a WhatsApp on loopback (run.py serve --sandbox URL)" if self._lease.sandbox else "WhatsApp itself"
            return "disconnected", f"this login belongs to {other}"
        if not await self._around.store.device_exists(self.jid):
            await self._around.store.unbind(self._around.process, self.tenant)
            return "unpaired", f"the login of {self.jid} is not in the database any more: pair again"
        return None

    async def _drop(self, within: float = 10.0) -> None:
        """Close the client. That goes on to its end also when who waits for it is told to do something else."""
        client, self._client = self._client, None
        if self._half_dead is not None:
            self._half_dead.cancel()
        if client is not None:
            self._closing = asyncio.create_task(client.close(within), name=f"closing {self.tenant}")
        if self._closing is not None and not await asyncio.shield(self._closing):
            log.warning("the library did not let go of %s in time", self.tenant,
                        extra={"action": "session.close_late", "tenant": self.tenant})  # fmt: skip

    async def logout(self) -> None:
        """Unlink the device at WhatsApp, and forget it. Raises SendFailed; then nothing has changed."""
        if self._client is None or self._status.state not in ("connected", "restricted"):
            raise SendFailed("not_connected", retry=True)
        await self._client.logout()
        self._go_on(self._end(Turn("logged_out", "logged out on request: pair again", rests=True, unbinds=True)))

    # What happens to it

    async def _on_event(self, event: Event) -> None:
        if isinstance(event, Received):
            await self._around.intake.message(self.tenant, event)
        elif isinstance(event, Receipt):
            await self._around.intake.receipt(self.tenant, event)
        elif isinstance(event, Connected):
            await self._connected()
        elif (now := turn(event)) is not None:
            log.warning("%s is %s: %s", self.tenant, now.state, now.reason,
                        extra={"action": f"session.{now.state}", "tenant": self.tenant})  # fmt: skip
            if now.ends:
                self._go_on(self._end(now))  # closing waits for this handler to return
            else:
                await self.enter(now.state, now.reason)
                self._watch()

    async def _connected(self) -> None:
        """Nothing goes out before it is certain as whom it would go."""
        if self._client is None:
            return
        me = await self._client.identity()
        if me.jid != self.jid:
            log.critical("%s was logged in as %s and not as %s: closed", self.tenant, me.jid, self.jid,
                         extra={"action": "session.wrong_identity", "tenant": self.tenant})  # fmt: skip
            self._go_on(self._end(Turn("disconnected", f"WhatsApp logged in as {me.jid}: closed", rests=True)))
            return
        self._failures = 0
        log.info("%s is connected as %s", self.tenant, self.jid,
                 extra={"action": "session.connected", "tenant": self.tenant})  # fmt: skip
        await self.enter("connected", None)
        self._watch()
        self._around.usable(self.tenant)

    async def _end(self, now: Turn) -> None:
        await self._drop()
        if now.unbinds:
            await self._until_written(lambda: self._around.store.unbind(self._around.process, self.tenant))
        await self.enter(now.state, now.reason)
        if now.rests:
            return self._around.rests(self.tenant)
        await self._around.clock.sleep(_AGAIN[0])
        return await self._open()

    def _watch(self) -> None:
        """The library dials by itself, but not for ever in vain."""
        if self._half_dead is not None:
            self._half_dead.cancel()
        if self._status.state in ("connecting", "disconnected"):
            self._half_dead = asyncio.get_running_loop().call_later(HALF_DEAD, self.open)

    async def enter(self, state: SessionState, reason: str | None) -> None:
        """Be in this state, here and in the row."""
        if (state, reason) == (self._status.state, self._status.reason):
            return
        self._status = SessionStatus(state, reason)
        await self._until_written(lambda: self._around.store.changed(self._around.process, self.tenant, state, reason))

    async def _until_written(self, write: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await write()
                return
            except Unavailable as error:
                log.warning("%s: its state waits: %s", self.tenant, error,
                            extra={"action": "session.database_away", "tenant": self.tenant})  # fmt: skip
                await self._around.clock.sleep(_RETRY)

    # Sending

    async def send(self, message: Outgoing) -> Sent:
        """Raises SendFailed."""
        if self._client is None or not self.ready:
            raise SendFailed("not_connected", retry=True)
        quote = await self._quote(message.reply_to)
        try:
            sent = await self._client.send(message.to, message.content, quote=quote, mentions=message.mentions)
        except SendFailed as error:
            if error.cause == "reach_out_timelock":
                await self._refused()
            raise
        if self._status.state == "restricted":
            self._refusals = 0
            await self.enter("connected", None)
        return sent

    async def _refused(self) -> None:
        """Code 463: WhatsApp lets the number begin no new conversations for a while. One message tries now and then."""
        pause = _PROBES[min(self._refusals, len(_PROBES) - 1)]
        self._refusals += 1
        self._probe_at = self._around.clock.monotonic() + pause
        asyncio.get_running_loop().call_later(pause, self._around.usable, self.tenant)
        words = f"WhatsApp refuses new conversations of this number (463); the queue waits, next try in {pause:.0f} s"
        await self.enter("restricted", words)

    async def _quote(self, wa_id: str | None) -> Quote | None:
        found = await self._around.store.quoted(self.tenant, wa_id) if wa_id else None
        if wa_id is None or found is None:
            return None
        sender, content = found
        return Quote(wa_id, sender or (self.jid or "").partition(":")[0], content)

    async def typing(self, to: str) -> None:
        """Show that something is being written. It is a courtesy: failing is no failure."""
        if self._client is not None and self._status.state == "connected":
            with contextlib.suppress(SendFailed):
                await self._client.typing(to)
