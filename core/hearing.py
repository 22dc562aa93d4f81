"""What a gateway does when PostgreSQL tells it that something has happened, and when it may have missed that."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core import channels
from core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.paths.batcher import Batcher
    from core.paths.housekeeping import Housekeeping
    from core.paths.receiver import Receiver
    from core.paths.sender import Sender
    from core.session_rows import SessionRow
    from core.sessions.remote import RemoteSessions
    from core.sessions.supervisor import Supervisor
    from core.tenants import Tenants

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearers:
    """Who wants to know. `happened(tenant)`: there is an event."""

    tenants: Tenants
    batcher: Batcher
    housekeeping: Housekeeping
    sender: Sender
    receiver: Receiver
    sessions: RemoteSessions
    supervisor: Supervisor
    happened: Callable[[str], None]


class Hearing:
    """Of one gateway."""

    def __init__(self, hearers: Hearers) -> None:
        self._for = hearers
        self._has_listened = self._closed = False
        self._keys_reader: asyncio.Task[None] | None = None

    @property
    def channels(self) -> dict[str, Callable[[str], None]]:
        """What to listen to, and who takes the payload."""
        hearers = self._for
        return {
            channels.KEYS: self._keys_changed,
            channels.OUTBOX: hearers.sender.wake,
            channels.INCOMING: lambda _: hearers.receiver.wake(),
            channels.SESSIONS: hearers.sessions.heard,
            channels.COMMANDS: self._command_heard,
            channels.FORGOTTEN: hearers.supervisor.forgotten,
            channels.EVENTS: hearers.happened,
        }

    async def listening(self) -> None:
        """The connection is there (again): make good what may have been missed. Raises Unavailable."""
        hearers = self._for
        hearers.housekeeping.publish(await hearers.batcher.withdraw())
        await hearers.tenants.load()
        await hearers.sessions.load()
        if self._has_listened:
            hearers.sender.hold()
            hearers.receiver.wake()
        self._has_listened = True

    async def close(self) -> None:
        """Keys are not read any more."""
        self._closed = True
        if self._keys_reader is not None:
            self._keys_reader.cancel()
            await asyncio.wait([self._keys_reader])

    def session_changed(self, now: SessionRow, before: SessionRow | None) -> None:
        """A session's row was read, and its state or reason is another."""
        if before is None and now.state == "unpaired":
            return
        why = f": {now.reason}" if now.reason else ""
        extra = {"action": "session.changed", "tenant": now.tenant, "state": now.state}
        log.info("%s is %s%s", now.tenant, now.state, why, extra=extra)
        if now.process is None:
            self._for.supervisor.wake()  # it may be free

    def _keys_changed(self, _: str) -> None:
        self._for.tenants.distrust()
        self._for.batcher.forget_answers()
        if not self._closed and (self._keys_reader is None or self._keys_reader.done()):
            self._keys_reader = asyncio.create_task(self._read_keys(), name="keys")

    async def _read_keys(self) -> None:
        # While PostgreSQL is away the snapshot stays distrusted, and the next connection reads it.
        with contextlib.suppress(Unavailable):
            await self._for.tenants.load()

    def _command_heard(self, _: str) -> None:
        self._for.sessions.answered()
        self._for.supervisor.wake()
