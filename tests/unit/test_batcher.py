"""Natural batching, and what callers hear when nobody knows whether a batch was stored."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast
from zoneinfo import ZoneInfo

import pytest
from msgspec import structs

from core.clock import Clock
from core.decisions import merge
from core.errors import DatabaseUnavailable, StatementRejected, StatementTimeout
from core.model import Outgoing, StatusChange
from core.outbox import Outcome
from core.paths.batch import Candidate
from core.paths.batcher import LARGEST, LINGER, LONGEST_STATEMENT, PATIENCE, Batcher

if TYPE_CHECKING:
    from db.store import Store

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def ids_of(batch: str) -> list[str]:
    """The ids in an encoded batch, an array literal of PostgreSQL."""
    ids: str = json.loads(batch)["ids"]
    return ids.strip("{}").split(",")


class FastClock(Clock):
    """Sleeping takes no time, and time passes only so."""

    def __init__(self) -> None:
        self.elapsed = 0.0

    def monotonic(self) -> float:
        return self.elapsed

    async def sleep(self, seconds: float) -> None:
        self.elapsed += seconds
        await asyncio.sleep(0)


class ScriptedStore:
    """Answers `admit` from a list of errors first, then queues everything; remembers what it was given."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.batches: list[list[str]] = []
        self.withdrawn: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def admit(self, batch: str) -> list[Outcome]:
        ids = ids_of(batch)
        self.batches.append(ids)
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        return [Outcome("queued", i, "queued", NOW, 0, None, ()) for i in ids]

    async def withdraw(self, ids: list[str]) -> list[StatusChange]:
        self.withdrawn += ids
        return [StatusChange(tenant="shop", message_id=i, to="1", status="expired", at=NOW) for i in ids]


def candidate(number: int, ref: str | None = None, fingerprint: str = "f") -> Candidate:
    message = Outgoing(
        id=f"id-{number}", tenant="shop", to="628111", content="x", client_ref=ref, expires_at=NOW + timedelta(hours=1)
    )
    return Candidate(
        message=message,
        verdict=merge(()),
        gaps=(),
        zone=ZoneInfo("UTC"),
        at=NOW,
        fingerprint=fingerprint if ref else None,
    )


def batcher_on(store: ScriptedStore) -> tuple[Batcher, FastClock]:
    clock = FastClock()
    return Batcher(cast("Store", store), clock), clock


async def test_requests_that_come_while_a_statement_is_under_way_share_the_next_one() -> None:
    """One, then all the others, at most LARGEST at a time; everybody gets the own answer."""
    store = ScriptedStore()
    batcher, _ = batcher_on(store)
    store.gate.clear()
    tasks = [asyncio.ensure_future(batcher.submit(candidate(0)))]
    while not store.batches:
        await asyncio.sleep(0)
    tasks += [asyncio.ensure_future(batcher.submit(candidate(n))) for n in range(1, 2 * LARGEST)]
    await asyncio.sleep(0.01)
    store.gate.set()
    outcomes = await asyncio.gather(*tasks)
    assert [len(batch) for batch in store.batches] == [1, LARGEST, LARGEST - 1]
    assert [o.message_id for o in outcomes] == [f"id-{n}" for n in range(2 * LARGEST)]


async def test_equal_keys_at_once_are_one_row_and_one_answer() -> None:
    """50 callers, one statement with one row; 49 are told that it is a replay."""
    store = ScriptedStore()
    batcher, _ = batcher_on(store)
    outcomes = await asyncio.gather(*(batcher.submit(candidate(n, "order-1")) for n in range(50)))
    assert store.batches == [["id-0"]]
    assert {o.message_id for o in outcomes} == {"id-0"}
    assert [o.outcome for o in outcomes].count("replayed") == 49


async def test_an_equal_key_with_another_body_is_not_given_the_first_ones_answer() -> None:
    """It waits for the first, and lets the database say that it is a conflict."""
    store = ScriptedStore()
    batcher, _ = batcher_on(store)
    await asyncio.gather(batcher.submit(candidate(0, "k")), batcher.submit(candidate(1, "k", "other")))
    assert store.batches == [["id-0"], ["id-1"]]


async def test_a_caller_that_goes_away_takes_nobody_with_it() -> None:
    """Cancelling one of two equal requests leaves the other its answer."""
    store = ScriptedStore()
    store.gate.clear()
    batcher, _ = batcher_on(store)
    first = asyncio.ensure_future(batcher.submit(candidate(0, "k")))
    second = asyncio.ensure_future(batcher.submit(candidate(1, "k")))
    await asyncio.sleep(0.01)
    first.cancel()
    store.gate.set()
    assert (await second).message_id == "id-0"


async def test_when_postgresql_cannot_be_reached_callers_hear_it_at_once() -> None:
    """Certainly not stored: no retry, nothing in doubt."""
    store = ScriptedStore(DatabaseUnavailable("refused"))
    batcher, _ = batcher_on(store)
    with pytest.raises(DatabaseUnavailable):
        await batcher.submit(candidate(0))
    assert len(store.batches) == 1
    assert not batcher.doubtful


async def test_a_batch_whose_end_is_uncertain_is_repeated_with_the_same_ids() -> None:
    """The connection died, perhaps after the commit; then nobody listened for a while; then the answer comes."""
    away = [DatabaseUnavailable("died", uncertain=True), *(DatabaseUnavailable("refused") for _ in range(5))]
    store = ScriptedStore(*away)
    batcher, _ = batcher_on(store)
    assert (await batcher.submit(candidate(0))).message_id == "id-0"
    assert store.batches == [["id-0"]] * 7


async def test_while_a_batch_is_in_doubt_others_are_refused_at_once() -> None:
    """They would only wait; certainly nothing of theirs is stored."""

    class Stuck(ScriptedStore):
        async def admit(self, batch: str) -> list[Outcome]:
            try:
                return await super().admit(batch)
            except DatabaseUnavailable:
                self.gate.clear()
                raise

    batcher, _ = batcher_on(store := Stuck(DatabaseUnavailable("died", uncertain=True)))
    first = asyncio.ensure_future(batcher.submit(candidate(0)))
    while len(store.batches) < 2:
        await asyncio.sleep(0)
    with pytest.raises(DatabaseUnavailable):
        await batcher.submit(candidate(1))
    store.gate.set()
    assert (await first).outcome == "queued"


async def test_a_batch_that_stays_in_doubt_is_answered_503_and_withdrawn_later() -> None:
    """After PATIENCE the callers hear it; sending stops until the rows are withdrawn, which waits until no attempt
    can be under way at the server any more; each is told of once."""
    store = ScriptedStore(*(DatabaseUnavailable("died", uncertain=True) for _ in range(int(PATIENCE / 0.1) + 2)))
    batcher, clock = batcher_on(store)
    with pytest.raises(DatabaseUnavailable):
        await batcher.submit(candidate(0))
    assert batcher.doubtful
    assert await batcher.withdraw() == []
    clock.elapsed += LONGEST_STATEMENT
    assert [change.message_id for change in await batcher.withdraw()] == ["id-0"]
    assert await batcher.withdraw() == []
    assert not batcher.doubtful
    assert store.withdrawn == ["id-0"]


async def test_a_batch_rejected_after_an_uncertain_attempt_is_in_doubt_too() -> None:
    """The first attempt may have been stored, whatever the second one was told."""
    store = ScriptedStore(DatabaseUnavailable("cut", uncertain=True), StatementRejected("XX000", "a slip"))
    batcher, _ = batcher_on(store)
    with pytest.raises(StatementRejected):
        await batcher.submit(candidate(0))
    assert batcher.doubtful


async def test_what_is_stored_one_by_one_after_an_uncertain_attempt_is_not_withdrawn() -> None:
    """The attempt's end was unknown, the next one was rejected, and the split settled it: a 202 stays a 202."""
    store = ScriptedStore(DatabaseUnavailable("cut", uncertain=True), StatementRejected("22021", "bad text"))
    batcher, clock = batcher_on(store)
    store.gate.clear()
    tasks = [asyncio.ensure_future(batcher.submit(candidate(n))) for n in range(2)]
    await asyncio.sleep(0.01)
    store.gate.set()
    assert [o.outcome for o in await asyncio.gather(*tasks)] == ["queued", "queued"]
    assert store.batches == [["id-0", "id-1"], ["id-0", "id-1"], ["id-0"], ["id-1"]]
    clock.elapsed += LONGEST_STATEMENT
    assert await batcher.withdraw() == []
    assert not batcher.doubtful


async def test_a_refusal_is_a_refusal_for_all_who_asked_the_same_at_once() -> None:
    """Nobody is told that a message was stored that was not."""

    class Full(ScriptedStore):
        async def admit(self, batch: str) -> list[Outcome]:
            return [Outcome("over", id_, None, None, None, None, ()) for id_ in ids_of(batch)]

    batcher, _ = batcher_on(Full())
    outcomes = await asyncio.gather(*(batcher.submit(candidate(n, "k")) for n in range(3)))
    assert [o.outcome for o in outcomes] == ["over"] * 3


async def test_equal_requests_of_another_key_ask_for_themselves() -> None:
    """A key that was rotated meanwhile must not be answered with what the new one was told."""
    store = ScriptedStore()
    batcher, _ = batcher_on(store)
    other = structs.replace(candidate(1, "k"), key="sha256:other")
    await asyncio.gather(batcher.submit(candidate(0, "k")), batcher.submit(other))
    assert store.batches == [["id-0"], ["id-1"]]


async def test_an_answer_lingers_for_a_moment_and_is_forgotten_when_something_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A burst of repeats hears one thing; after a cancellation or a change of keys the database is asked again."""
    store = ScriptedStore()
    batcher, _ = batcher_on(store)
    monkeypatch.setattr("core.paths.batcher.LINGER", 3600.0)  # however long the burst takes
    for n in range(3):
        await batcher.submit(candidate(n, "k"))
    batcher.forget_answers()
    monkeypatch.setattr("core.paths.batcher.LINGER", LINGER / 10)
    await batcher.submit(candidate(3, "k"))
    await asyncio.sleep(LINGER)
    await batcher.submit(candidate(4, "k"))
    assert store.batches == [["id-0"], ["id-3"], ["id-4"]]


async def test_a_statement_that_postgresql_timed_out_had_no_effect_and_is_answered_503() -> None:
    """Its transaction was undone: nothing is in doubt."""
    store = ScriptedStore(StatementTimeout("too slow"))
    batcher, _ = batcher_on(store)
    with pytest.raises(StatementTimeout):
        await batcher.submit(candidate(0))
    assert not batcher.doubtful


async def test_one_bad_row_spoils_nobody_elses() -> None:
    """The batch is split; only the culprit hears of it."""

    class Picky(ScriptedStore):
        async def admit(self, batch: str) -> list[Outcome]:
            if "id-2" in batch:
                raise StatementRejected("22021", "bad text")
            return await super().admit(batch)

    store = Picky()
    batcher, _ = batcher_on(store)
    store.gate.clear()
    tasks = [asyncio.ensure_future(batcher.submit(candidate(n))) for n in range(4)]
    await asyncio.sleep(0.01)
    store.gate.set()
    results: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(r, StatementRejected) for r in results] == [False, False, True, False]


async def test_text_that_is_no_text_spoils_nobody_elses_batch() -> None:
    """A lone surrogate that came past every door fails its own request only."""
    store = ScriptedStore()
    batcher, _ = batcher_on(store)
    bad = candidate(0)
    bad = structs.replace(bad, message=dataclasses.replace(bad.message, content="\ud800"))
    results: list[Any] = await asyncio.gather(batcher.submit(bad), batcher.submit(candidate(1)), return_exceptions=True)
    assert isinstance(results[0], UnicodeEncodeError)
    assert results[1].message_id == "id-1"


async def test_our_own_earlier_attempt_that_committed_late_is_waited_for() -> None:
    """Unique violation: the first attempt was still running; the next look finds its rows."""
    store = ScriptedStore(DatabaseUnavailable("cut", uncertain=True), StatementRejected("23505", "messages_pkey"))
    batcher, _ = batcher_on(store)
    assert (await batcher.submit(candidate(0))).message_id == "id-0"


async def test_after_an_error_the_next_request_starts_afresh() -> None:
    """No lock, flag or task is left behind."""
    store = ScriptedStore(DatabaseUnavailable("refused"))
    batcher, _ = batcher_on(store)
    with pytest.raises(DatabaseUnavailable):
        await batcher.submit(candidate(0, "k"))
    await asyncio.sleep(0)
    assert (await batcher.submit(candidate(1, "k"))).message_id == "id-1"
