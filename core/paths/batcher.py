"""One statement for many requests: while a batch is under way, the next one gathers. No timers.

A batch whose end is uncertain (the connection died) is repeated with the same ids until it is certain. If that takes
too long its callers hear 503, and its messages are withdrawn as soon as PostgreSQL is back: no row without its answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from core.errors import DatabaseUnavailable, StatementRejected, Unavailable
from core.paths.batch import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.clock import Clock
    from core.model import StatusChange
    from core.outbox import Outcome
    from core.paths.batch import Candidate
    from db.store import Store

log = logging.getLogger(__name__)

LARGEST = 256
"""Messages in one statement."""

PATIENCE = 5.0
"""Seconds to make certain what became of a batch, before its callers hear 503."""

LINGER = 1.0
"""Seconds for which equal requests share one answer, so that a burst of repeats hears one thing."""

_RETRY = 0.1
_RACES = {"23505", "40P01", "40001"}  # our own earlier attempt committed meanwhile; deadlock; serialization failure
_RACES_AT_MOST = 5


@dataclass(frozen=True, slots=True)
class _Shared:
    fingerprint: str | None
    outcome: asyncio.Future[Outcome]


class Batcher:
    """Hands candidates to the database, at most `LARGEST` at a time, one statement at a time."""

    def __init__(self, store: Store, clock: Clock, on_withdrawn: Callable[[StatusChange], None]) -> None:
        self._store, self._clock, self._on_withdrawn = store, clock, on_withdrawn
        self._waiting: deque[tuple[Candidate, asyncio.Future[Outcome]]] = deque()
        self._shared: dict[tuple[str, str], _Shared] = {}
        self._flushing: asyncio.Task[None] | None = None
        self._uncertain = False
        self._doubtful: list[str] = []

    @property
    def doubtful(self) -> bool:
        """Whether messages wait to be withdrawn; nothing should be sent meanwhile."""
        return bool(self._doubtful)

    async def submit(self, candidate: Candidate) -> Outcome:
        """What the database decides. Raises DatabaseUnavailable, also at once while another batch is in doubt."""
        message = candidate.message
        if message.client_ref is None:
            return await self._enqueue(candidate)
        key = message.tenant, message.client_ref
        if shared := self._shared.get(key):
            if shared.fingerprint == candidate.fingerprint:
                return replace(await asyncio.shield(shared.outcome), outcome="replayed")
            await asyncio.wait([shared.outcome])
        future = self._enqueue(candidate)
        self._shared[key] = mine = _Shared(candidate.fingerprint, future)
        future.add_done_callback(lambda done: self._release(key, mine, done))
        return await asyncio.shield(future)

    def _release(self, key: tuple[str, str], shared: _Shared, done: asyncio.Future[Outcome]) -> None:
        """A stored message's answer lingers; a refusal is forgotten at once."""
        stored = not done.cancelled() and done.exception() is None and done.result().outcome in ("queued", "replayed")
        asyncio.get_running_loop().call_later(LINGER if stored else 0, self._forget, key, shared)

    def _forget(self, key: tuple[str, str], shared: _Shared) -> None:
        if self._shared.get(key) is shared:
            del self._shared[key]

    def _enqueue(self, candidate: Candidate) -> asyncio.Future[Outcome]:
        if self._uncertain:
            raise DatabaseUnavailable("PostgreSQL is away; nothing was stored")
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((candidate, future))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush(), name="admission")
        return future

    async def _flush(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(LARGEST, len(self._waiting)))]
            await self._settle(batch)

    async def _settle(self, batch: Sequence[tuple[Candidate, asyncio.Future[Outcome]]]) -> None:
        """Every future of the batch gets its outcome or its error."""
        try:
            outcomes = await self._admit([candidate for candidate, _ in batch])
        except StatementRejected as error:
            if len(batch) == 1:
                self._fail(batch, error)
                return
            log.error("a batch was rejected, one by one now: %s", error, extra={"action": "admission.split"})
            for one in batch:
                await self._settle([one])
            return
        except BaseException as error:
            self._fail(batch, error)
            if not isinstance(error, Exception):
                raise
            return
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if not future.done():
                future.set_result(outcome)

    def _fail(self, batch: Sequence[tuple[Candidate, asyncio.Future[Outcome]]], error: BaseException) -> None:
        if not isinstance(error, Unavailable):
            log.error("admission failed: %r", error, extra={"action": "admission.failed"}, exc_info=error)
        if not isinstance(error, Exception):
            error = DatabaseUnavailable("the gateway is stopping")
        for _, future in batch:
            if not future.done():
                future.set_exception(error)
                future.exception()  # a caller that has gone must not leave a warning behind

    async def _admit(self, candidates: Sequence[Candidate]) -> list[Outcome]:
        encoded, deadline, races = encode(candidates), self._clock.monotonic() + PATIENCE, 0
        try:
            while True:
                try:
                    return await self._store.admit(encoded)
                except StatementRejected as error:
                    races += 1
                    if error.sqlstate not in _RACES or races > _RACES_AT_MOST:
                        raise
                except Unavailable as error:
                    self._uncertain |= getattr(error, "uncertain", False)
                    if not self._uncertain:
                        raise
                    if self._clock.monotonic() > deadline:
                        self._doubt([c.message.id for c in candidates])
                        raise
                await self._clock.sleep(_RETRY)
        finally:
            self._uncertain = False

    def _doubt(self, ids: list[str]) -> None:
        log.error("%d messages are in doubt and will be withdrawn", len(ids), extra={"action": "admission.doubtful"})
        self._doubtful += ids

    async def withdraw(self) -> None:
        """Withdraw what callers were told did not work. Raises Unavailable while PostgreSQL is away."""
        if not self._doubtful:
            return
        ids = list(self._doubtful)
        for change in await self._store.withdraw(ids):
            log.warning("message %s withdrawn", change.message_id, extra={"action": "admission.withdrawn"})
            self._on_withdrawn(change)
        del self._doubtful[: len(ids)]

    async def close(self) -> None:
        """Let what was submitted come to its end."""
        if self._flushing is not None:
            await asyncio.wait([self._flushing])
