"""What time does to messages: they expire, their process dies, their keys grow old."""

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

ORPHANS_EVERY = 10
"""Rounds between two looks for messages in flight whose process is gone."""

LOST_EVERY = 5
"""Rounds between two looks for incoming messages that nobody will write down any more."""

FORGET_EVERY = 3600
"""Rounds between two deletions of what is old."""

GRACE = 10.0
"""Seconds for which a message may be in flight before its process is asked for. A process that lost its connections
for a moment is not yet gone."""


class Housekeeping:
    """Runs in every process; PostgreSQL sees to it that each row is dealt with once."""

    def __init__(  # noqa: PLR0913 - all that time works on
        self,
        store: Store,
        sessions: SessionStore,
        clock: Clock,
        statuses: Statuses,
        batcher: Batcher,
        *,
        forgetting: Forgetting,
    ) -> None:
        self._store, self._sessions, self._clock = store, sessions, clock
        self._statuses, self._batcher = statuses, batcher
        self._forgetting = forgetting

    async def start(self) -> None:
        """What was in flight when its gateway died is named before anything new is sent. Raises Unavailable."""
        alone = len(await self._store.live_processes()) <= 1
        self.publish(await self._store.settle_orphans(0.0 if alone else GRACE))

    async def run(self) -> None:
        """For ever."""
        number = 0
        while True:
            await self._round(self._batcher.withdraw)
            await self._round(self._store.expire)
            if number % ORPHANS_EVERY == 0:
                await self._round(lambda: self._store.settle_orphans(GRACE))
            if number % LOST_EVERY == 0:
                await self._round(self._name_lost)
            if number % FORGET_EVERY == 0:
                await self._round(self._forget)
            await self._clock.sleep(EVERY)
            number += 1

    async def _round(self, work: Callable[[], Awaitable[list[StatusChange]]]) -> None:
        try:
            self.publish(await work())
        except (Unavailable, StatementRejected) as error:
            log.warning("housekeeping waits: %s", error, extra={"action": "housekeeping.database_away"})

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
