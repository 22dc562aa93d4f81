"""What time does to messages: they expire, their process dies, WhatsApp is silent, their keys grow old."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from core.errors import StatementRejected, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.clock import Clock
    from core.model import StatusChange
    from core.paths.batcher import Batcher
    from core.paths.forgetting import Forgetting
    from core.paths.statuses import Statuses
    from db.session_store import SessionStore
    from db.store import Store

log = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds between two rounds of expiry."""

SETTLE_EVERY = 10
"""Rounds between two looks for messages in flight whose process is gone, or that wait for WhatsApp's word."""

LOST_EVERY = 5
"""Rounds between two looks for incoming messages that nobody will write down any more."""

FORGET_EVERY = 3600
"""Rounds between two deletions of what is old."""

PHONE_ABSENT = 10.0
"""Days without a sign of a tenant's own phone after which that is told."""

GRACE = 10.0
"""Seconds for which a message may be in flight before its process is asked for. A process that lost its connections
for a moment is not yet gone."""


class Housekeeping:
    """Runs in every process; PostgreSQL sees to it that each row is dealt with once."""

    def __init__(  # noqa: PLR0913 - the composition root hands everything over once
        self,
        store: Store,
        sessions: SessionStore,
        clock: Clock,
        statuses: Statuses,
        batcher: Batcher,
        *,
        forgetting: Forgetting,
        resends: Callable[[str], bool],
    ) -> None:
        """`resends(tenant)`: it wants its `unknown` messages sent once more."""
        self._store, self._sessions, self._clock = store, sessions, clock
        self._statuses, self._batcher = statuses, batcher
        self._forgetting, self._resends = forgetting, resends

    async def start(self) -> None:
        """What was in flight when its gateway died is named before anything new is sent. Raises Unavailable."""
        alone = len(await self._store.live_processes()) <= 1
        self.publish(await self._settle(0.0 if alone else GRACE))

    async def run(self) -> None:
        """For ever."""
        number = 0
        while True:
            await self._round(self._batcher.withdraw)
            await self._round(self._store.expire)
            if number % SETTLE_EVERY == 0:
                await self._round(self._settle)
                await self._round(self._resend)
                await self._round(self._overdue)
            if number % LOST_EVERY == 0:
                await self._round(self._name_lost)
            if number % FORGET_EVERY == 0:
                await self._round(self._forget)
                await self._round(self._miss_phones)
            await self._clock.sleep(EVERY)
            number += 1

    async def _round(self, work: Callable[[], Awaitable[list[StatusChange]]]) -> None:
        try:
            self.publish(await work())
        except (Unavailable, StatementRejected) as error:
            log.warning("housekeeping waits: %s", error, extra={"action": "housekeeping.database_away"})

    async def _settle(self, grace: float = GRACE) -> list[StatusChange]:
        """What never left goes again: for nobody that is news."""
        changes = await self._store.settle(grace)
        for again in (change for change in changes if change.status == "queued"):
            log.warning("%s of %s had not left when its process died: it goes now", again.message_id, again.tenant,
                        extra={"action": "message.again", "tenant": again.tenant, "message_id": again.message_id})  # fmt: skip # noqa: E501
        return [change for change in changes if change.status != "queued"]

    async def _resend(self) -> list[StatusChange]:
        whom = [tenant for tenant in await self._store.tenants_with_unknown() if self._resends(tenant)]
        return await self._store.resend(whom) if whom else []

    async def _overdue(self) -> list[StatusChange]:
        """Their status is what it was: an event tells of them, and the log."""
        for tenant, message_id in await self._store.overdue():
            log.warning("WhatsApp has not confirmed %s of %s for a minute", message_id, tenant,
                        extra={"action": "message.overdue", "tenant": tenant, "message_id": message_id})  # fmt: skip
        return []

    async def _miss_phones(self) -> list[StatusChange]:
        """WhatsApp unlinks devices whose phone stays away for two weeks."""
        for tenant, seen in await self._sessions.phones_missed(PHONE_ABSENT):
            log.warning("nothing was seen of the phone of %s since %s", tenant, f"{seen:%Y-%m-%d %H:%M} UTC",
                        extra={"action": "session.phone_not_seen", "tenant": tenant})  # fmt: skip
        return []

    async def _forget(self) -> list[StatusChange]:
        await self._forgetting.run()
        return []

    async def _name_lost(self) -> list[StatusChange]:
        for message in await self._sessions.lost():
            log.error(
                "message %s from %s for %s is lost: the process that had it was killed", message.id, message.sender,
                message.tenant, extra={"action": "incoming.lost", "tenant": message.tenant, "message_id": message.id},
            )  # fmt: skip
        return []

    def publish(self, changes: list[StatusChange]) -> None:
        """Log what time did, and wake who waits for it; plugins hear of it by its event."""
        for change in changes:
            log.warning(
                "message %s of %s is %s: %s", change.message_id, change.tenant, change.status, change.cause,
                extra={"action": f"message.{change.status}", "tenant": change.tenant, "message_id": change.message_id},
            )  # fmt: skip
            self._statuses.publish(change)
