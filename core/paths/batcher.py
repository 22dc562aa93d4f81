"""One statement for many requests: while a batch is under way, the next one gathers. No timers.

A batch whose end is uncertain (the connection died) is repeated with the same ids until it is certain. If that takes
too long its callers hear 503, and its messages are withdrawn as soon as PostgreSQL is back: no row without its answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import DatabaseUnavailable, StatementRejected, Unavailable
from core.paths.batch import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.clock import Clock
    from core.model import StatusChange
    from core.outbox import Outcome
    from core.paths.batch import Candidate
    from db.store import Store

log = logging.getLogger(__name__)

LARGEST = 64
"""Messages in one statement."""

PATIENCE = 10.0
"""Seconds to make certain what became of a batch, before its callers hear 503."""

LONGEST_STATEMENT = 6.0
"""Seconds after which an attempt that we lost sight of has ended at the server (its statement_timeout and a little)."""

LINGER = 0.25
"""Seconds for which equal requests share one answer, so that a burst of repeats hears one thing."""

_RETRY = 0.1
_RACES = {"23505", "40P01", "40001"}  # our own earlier attempt committed meanwhile; deadlock; serialization failure
_RACES_AT_MOST = 5


@dataclass(frozen=True, slots=True)
class _Shared:
    """An answer that equal requests wait for. Equal: same fingerprint, and authenticated by the same key."""

    fingerprint: str | None
    key: str | None
    outcome: asyncio.Future[Outcome]


@dataclass(frozen=True, slots=True)
class _Doubt:
    """Messages that may have been stored although their callers were told otherwise. An attempt may be under way at the
    server until the monotonic time `settled_at`."""

    ids: tuple[str, ...]
    settled_at: float


class Batcher:
    """Hands candidates to the database, at most `LARGEST` at a time, one statement at a time."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._waiting: deque[tuple[Candidate, asyncio.Future[Outcome]]] = deque()
        self._shared: dict[tuple[str, str], _Shared] = {}
        self._flushing: asyncio.Task[None] | None = None
        # When, of the batch in hand, the latest attempt began whose end nobody knows.
        self._lost_sight: float | None = None
        self._doubts: list[_Doubt] = []

    @property
    def doubtful(self) -> bool:
        """Whether messages wait to be withdrawn; nothing shall be sent meanwhile."""
        return bool(self._doubts)

    async def submit(self, candidate: Candidate) -> Outcome:
        """What the database decides. Raises DatabaseUnavailable, also at once while another batch is in doubt."""
        message = candidate.message
        if message.client_ref is None:
            return await self._enqueue(candidate)
        key = message.tenant, message.client_ref
        if shared := self._shared.get(key):
            if (shared.fingerprint, shared.key) == (candidate.fingerprint, candidate.key):
                outcome = await asyncio.shield(shared.outcome)
                return outcome._replace(outcome="replayed") if outcome.outcome == "queued" else outcome
            await asyncio.wait([shared.outcome])
        future = self._enqueue(candidate)
        self._shared[key] = mine = _Shared(candidate.fingerprint, candidate.key, future)
        future.add_done_callback(lambda done: self._release(key, mine, done))
        return await asyncio.shield(future)

    def forget_answers(self) -> None:
        """Something changed (a key, a status): equal requests ask the database again."""
        self._shared = {key: shared for key, shared in self._shared.items() if not shared.outcome.done()}

    def _release(self, key: tuple[str, str], shared: _Shared, done: asyncio.Future[Outcome]) -> None:
        """A stored message's answer lingers; a refusal is forgotten at once."""
        stored = not done.cancelled() and done.exception() is None and done.result().outcome in ("queued", "replayed")
        asyncio.get_running_loop().call_later(LINGER if stored else 0, self._forget, key, shared)

    def _forget(self, key: tuple[str, str], shared: _Shared) -> None:
        if self._shared.get(key) is shared:
            del self._shared[key]

    def _enqueue(self, candidate: Candidate) -> asyncio.Future[Outcome]:
        if self._lost_sight is not None:
            raise DatabaseUnavailable("PostgreSQL is away; nothing was stored")
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((candidate, future))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush(), name="admission")
        return future

    async def _flush(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(LARGEST, len(self._waiting)))]
            try:
                await self._settle(batch)
            finally:
                self._lost_sight = None

    async def _settle(self, batch: Sequence[tuple[Candidate, asyncio.Future[Outcome]]]) -> None:
        """Every future of the batch gets its outcome or its error."""
        try:
            outcomes = await self._admit([candidate for candidate, _ in batch])
        except (StatementRejected, ValueError, TypeError) as error:
            # A value that JSON or PostgreSQL cannot hold: one caller's mistake is nobody else's.
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
        """Their last word, which an attempt with an unknown end may have made untrue."""
        if self._lost_sight is not None:
            self._doubt(tuple(c.message.id for c, _ in batch), self._lost_sight + LONGEST_STATEMENT)
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
        while True:
            began = self._clock.monotonic()
            try:
                return await self._store.admit(encoded)
            except StatementRejected as error:
                races += 1
                if error.sqlstate not in _RACES or races > _RACES_AT_MOST:
                    raise
            except Unavailable as error:
                if getattr(error, "uncertain", False):
                    self._lost_sight = began
                if self._lost_sight is None or began > deadline:
                    raise
            await self._clock.sleep(_RETRY)

    def _doubt(self, ids: tuple[str, ...], settled_at: float) -> None:
        log.error("%d messages are in doubt and will be withdrawn", len(ids), extra={"action": "admission.doubtful"})
        self._doubts.append(_Doubt(ids, settled_at))

    async def withdraw(self) -> list[StatusChange]:
        """Withdraw what callers were told did not work, as soon as no attempt can be under way any more. Raises
        Unavailable while PostgreSQL is away."""
        settled = [doubt for doubt in self._doubts if doubt.settled_at <= self._clock.monotonic()]
        if not settled:
            return []
        changes = await self._store.withdraw([i for doubt in settled for i in doubt.ids])
        self._doubts = [doubt for doubt in self._doubts if doubt not in settled]
        return changes

    async def close(self) -> None:
        """Let what was submitted come to its end."""
        if self._flushing is not None:
            await asyncio.wait([self._flushing])
