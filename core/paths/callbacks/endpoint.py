"""One endpoint: what it is to be sent is taken, posted and written down.

Nothing here waits for another endpoint. How many posts may be under way, in which order, and when the endpoint is left
alone is decided in the claim (db/migrations/0013_callbacks.sql), so that several gateways keep to it together.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.callback_rows import Work
from core.errors import StatementRejected, Unavailable
from core.failpoints import reach
from core.paths.callbacks.backoff import result_of
from core.paths.callbacks.posting import Answer, Letter, post

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp

    from core.callback_rows import Posting, Result
    from core.callback_settings import Endpoint
    from core.clock import Clock
    from db.callback_store import CallbackStore
    from db.event_store import EventStore

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Posts under way to one endpoint."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What all endpoints of a gateway work with. `turns`: how many of them may ask the database at once; `age()`: how
    many seconds ago the events were with which a new endpoint begins."""

    store: CallbackStore
    events: EventStore
    clock: Clock
    session: aiohttp.ClientSession
    turns: asyncio.Semaphore
    process: int
    age: Callable[[], float]


class Line:
    """What one gateway does for one endpoint of one tenant."""

    def __init__(self, tools: Tools, tenant: str, endpoint: Endpoint) -> None:
        self._tools, self._tenant, self._endpoint = tools, tenant, endpoint
        self._news = self._full = self._closed = False
        self._taker: asyncio.Task[None] | None = None
        self._posts: dict[str, asyncio.Task[None]] = {}

    def wake(self) -> None:
        """There may be something to be sent."""
        self._news = True
        waits_for_a_place = self._posts and (self._full or len(self._posts) >= AT_ONCE)
        if not self._closed and not waits_for_a_place and (self._taker is None or self._taker.done()):
            self._taker = asyncio.create_task(self._take(), name=f"callbacks {self._tenant} {self._endpoint.name}")

    def stop(self) -> None:
        """Take nothing more."""
        self._closed = True

    async def close(self, patience: float) -> None:
        """Take nothing more; what is under way has `patience` seconds to end. What does not is posted again by
        whoever finds that this process is gone."""
        self.stop()
        tasks = [*self._posts.values(), *([self._taker] if self._taker else [])]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=patience)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _take(self) -> None:
        try:
            while self._news and not self._closed and len(self._posts) < AT_ONCE:
                self._news = False
                work = await self._claim()
                self._full = work.full
                for posting in work.postings:
                    self._posts[posting.id] = asyncio.create_task(self._deliver(posting), name=f"callback {posting.id}")
                if work.full:
                    return
        except (Unavailable, StatementRejected) as error:
            self._log(logging.WARNING, "callback.database_away", f"callbacks wait: {error}")

    async def _claim(self) -> Work:
        where, tools = (self._tenant, self._endpoint.name), self._tools
        room = AT_ONCE - len(self._posts)
        async with tools.turns:
            work = await tools.store.claim(where, self._endpoint.events, tools.process, list(self._posts), room)
            if work is None:
                await tools.store.begin([where], tools.age())
                self._news = True
                work = Work()
        for delivery, kind in work.dead:
            self._log(logging.ERROR, "callback.dead", f"{kind} never arrived: its time is over", delivery=delivery)
        return work

    async def _deliver(self, posting: Posting) -> None:
        recorded = False
        try:
            recorded = await self._try(posting)
        except (Unavailable, StatementRejected) as error:
            self._log(logging.WARNING, "callback.database_away", f"not written down: {error}", delivery=posting.id)
        except Exception as error:  # noqa: BLE001 - it stays this process's, and is posted again
            self._log_bug(posting, error)
        finally:
            del self._posts[posting.id]
            self._full = False
            if recorded:  # if not, the next look round finds it: not at once, lest it be posted without end
                self.wake()

    async def _try(self, posting: Posting) -> bool:
        """Whether it is written down. An error of ours is a try that failed: it must not be posted again and again
        without a pause, and its day must come to an end."""
        try:
            answer = await self._posted(posting)
            return await self._record(posting, answer)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - see above
            self._log_bug(posting, error)
            return await self._record(posting, Answer(accepted=False, error=f"internal error: {type(error).__name__}"))

    async def _record(self, posting: Posting, answer: Answer) -> bool:
        result = result_of(answer, posting, self._tools.clock)
        async with self._tools.turns:
            recorded = await self._tools.store.record(posting.id, self._tools.process, result)
        self._tell(posting, result, answer.detail)
        return recorded

    def _log_bug(self, posting: Posting, error: Exception) -> None:
        self._log(logging.ERROR, "callback.internal_error", repr(error), delivery=posting.id, error=error)

    async def _posted(self, posting: Posting) -> Answer:
        tools = self._tools
        async with tools.turns:
            page = await tools.events.after(self._tenant, posting.seq - 1, 1)
        event = page.events[0] if page.events else None
        if event is None or event.seq != posting.seq:
            return Answer(accepted=False, error="the event is not kept any more", final=True)
        reach("callback_posting")
        answer = await post(tools.session, self._endpoint, Letter(posting.id, self._tenant, event), tools.clock)
        reach("callback_answered")
        return answer

    def _tell(self, posting: Posting, result: Result, detail: str | None) -> None:
        said = " ".join(str(part) for part in (result.http_status, result.error) if part is not None)
        said += f" ({detail})" if detail else ""
        if result.status == "delivered":
            self._log(logging.DEBUG, "callback.delivered", f"answered {said}", delivery=posting.id)
        elif result.status == "dead":
            self._log(logging.ERROR, "callback.dead", f"given up: {said}", delivery=posting.id)
        else:
            words = f"try {posting.tries + 1} failed, the next in {result.wait:.0f} s: {said}"
            self._log(logging.WARNING, "callback.failed", words, delivery=posting.id)

    def _log(
        self, level: int, action: str, words: str, *, delivery: str | None = None, error: BaseException | None = None
    ) -> None:
        extra = {"action": action, "tenant": self._tenant, "endpoint": self._endpoint.name}
        if delivery is not None:
            extra["delivery"] = delivery
        log.log(level, "callback %s of %s: %s", self._endpoint.name, self._tenant, words, extra=extra, exc_info=error)
