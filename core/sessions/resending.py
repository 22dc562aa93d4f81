"""What becomes of messages that a phone could not decrypt and asks for once more."""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from core.sessions.standing import until_written

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.clock import Clock
    from core.transport.wire import AskedAgain
    from db.session_store import SessionStore

log = logging.getLogger(__name__)

KEPT = 256
"""Messages that the library keeps in the memory of each client (whatsmeow's recentMessagesSize), to send them again."""


class Resending:
    """Of one tenant's session. The library serves what its present client has sent; what an earlier one sent, in this
    process or in one that is gone, is queued again. `usable` is called when something is."""

    def __init__(self, tenant: str, store: SessionStore, clock: Clock, usable: Callable[[str], None]) -> None:
        self._tenant, self._store, self._clock, self._usable = tenant, store, clock, usable
        self._served: deque[str] = deque(maxlen=KEPT)

    def begin(self) -> None:
        """There is a new client, which remembers nothing."""
        self._served.clear()

    def hand_over(self, message_id: str) -> None:
        """The client is about to send this message of ours. To be called before it does: a phone may ask for it before
        WhatsApp's answer is here."""
        self._served.append(message_id)

    async def answer(self, asked: AskedAgain) -> None:
        """Returns when it is written, and no sooner than PostgreSQL is there."""
        await until_written(partial(self._queue, asked.ids), self._clock, self._tenant)

    async def _queue(self, wa_ids: tuple[str, ...]) -> None:
        for message_id in await self._store.asked_again(self._tenant, wa_ids, tuple(self._served)):
            log.warning("%s: a phone could not read %s, and nobody remembers it: it is sent once more",
                        self._tenant, message_id,
                        extra={"action": "send.asked_again", "tenant": self._tenant,
                               "message_id": message_id})  # fmt: skip
            self._usable(self._tenant)
