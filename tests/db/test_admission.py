"""What `admit_v2` promises: exact limits, one message per key, nothing counted that is not stored."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from core.decisions import Exempt, Listed, Quota
from core.paths.batch import encode
from db.database import Database
from tests.conftest import PATIENT
from tests.db.candidates import KEY, Door, candidate, limited, says

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def door(db: Database) -> Door:
    door = Door(db)
    await door.store.add_tenant("shop", KEY)
    return door


@pytest.fixture
async def other_door(loop: asyncio.AbstractEventLoop, database_url: str, patient_pools: None) -> AsyncIterator[Door]:
    """A second gateway on the same database."""
    database = await Database.open(database_url, **PATIENT)
    yield Door(database)
    await database.close()


async def test_500_at_once_through_two_gateways_are_accepted_exactly_up_to_the_limit(
    door: Door, other_door: Door
) -> None:
    """Exactly 100 accepted, the counter says 100, and there are 100 rows."""
    rng = random.Random(5)
    batches = []
    left = 500
    while left:
        size = min(left, rng.randint(1, 20))
        batches.append([candidate(said=limited(100), gap=2) for _ in range(size)])
        left -= size
    doors = [door, other_door]
    answers = await asyncio.gather(*(doors[i % 2].admit(*batch) for i, batch in enumerate(batches)))
    outcomes = [outcome.outcome for answer in answers for outcome in answer]
    assert outcomes.count("queued") == 100
    assert outcomes.count("over") == 400
    assert await door.counted() == 100
    assert await door.statuses() == {"queued": 100}
    await door.check_books()


async def test_batches_that_share_counters_in_every_order_never_block_each_other(door: Door, other_door: Door) -> None:
    """No deadlock reaches anybody: counters, keys and lines are locked in one order, also for several tenants."""
    await door.store.add_tenant("bank", "sha256:" + "1" * 64)
    rng = random.Random(7)

    def batch() -> list[object]:
        rows = [
            candidate(
                f"62811{rng.randint(0, 9)}",
                said=(*limited(1000), *says("other", Quota(1000, per="tenant", period="week"))),
                client_ref=f"key-{rng.randint(0, 30)}",
                gap=rng.choice([0, 1]),
            )
            for _ in range(10)
        ]
        rng.shuffle(rows)
        return rows

    doors = [door, other_door]
    await asyncio.gather(*(doors[i % 2].admit(*batch()) for i in range(60)))  # type: ignore[arg-type]
    await door.check_books()


async def test_the_same_key_in_many_batches_at_once_is_one_message(door: Door, other_door: Door) -> None:
    """One row, one id, and every other answer is a replay of it."""
    batches = [[candidate(said=limited(3), client_ref="order-1")] for _ in range(50)]
    doors = [door, other_door]
    answers = await asyncio.gather(*(doors[i % 2].admit(*batch) for i, batch in enumerate(batches)))
    outcomes = [answer[0] for answer in answers]
    assert {o.message_id for o in outcomes} == {next(o.message_id for o in outcomes if o.outcome == "queued")}
    assert sorted(o.outcome for o in outcomes) == ["queued"] + ["replayed"] * 49
    assert {(o.expected_at, o.ahead, o.quota) for o in outcomes} == {
        (outcomes[0].expected_at, outcomes[0].ahead, outcomes[0].quota)
    }
    assert await door.statuses() == {"queued": 1}
    assert await door.counted() == 1


async def test_a_key_of_another_request_is_a_conflict_and_changes_nothing(door: Door) -> None:
    """The first request stands; the second is not stored, not counted, and not told the first one's place."""
    [first] = await door.admit(candidate(said=limited(3), client_ref="k"))
    [second] = await door.admit(candidate("628222", said=limited(3), client_ref="k", fingerprint="another"))
    assert (first.outcome, second.outcome) == ("queued", "conflict")
    assert await door.statuses() == {"queued": 1}
    assert await door.counted("628222") == 0


async def test_a_batch_in_which_some_are_over_counts_exactly_the_others(door: Door) -> None:
    """Counters are raised by what all want, and set right: daily ones, generic ones, and those that had counted
    before; a message that is over in one quota is not counted in the other."""
    weekly = says("weekly", Quota(3, per="tenant", period="week"))
    await door.admit(candidate(said=limited(5)), candidate("628222", said=limited(5)))
    batch = [
        candidate("628222", said=limited(1)),
        *(candidate(said=(*limited(3), *weekly)) for _ in range(3)),
        candidate("628333", said=(*limited(3), *weekly)),
        candidate("628444", said=(*limited(3), *weekly)),
    ]
    outcomes = [outcome.outcome for outcome in await door.admit(*batch)]
    assert outcomes == ["over", "queued", "queued", "over", "queued", "over"]
    assert [await door.counted(to) for to in ("628111", "628222", "628333", "628444")] == [3, 1, 1, 0]
    assert await door.db.fetch("SELECT used FROM quota_counters") == [(3,)]
    await door.check_books()


async def test_what_does_not_count_leaves_no_gap_in_what_does(door: Door) -> None:
    """Whitelisted numbers before, between and behind the others count in no counter, and the others in their own."""
    listed = [f"62855{n}" for n in (1, 3, 5)]
    for number in listed:
        await door.store.whitelist_add("shop", number)
    outcomes = await door.admit(*(candidate(f"62855{n}", said=limited(2)) for n in (1, 2, 3, 4, 4, 5)))
    assert [outcome.quota.used if outcome.quota else None for outcome in outcomes] == [None, 1, None, 1, 2, None]
    assert [await door.counted(f"62855{n}") for n in range(1, 6)] == [0, 1, 0, 2, 0]
    await door.check_books()


async def test_a_counter_at_the_end_of_its_numbers_refuses_and_stays_there(door: Door) -> None:
    """2^31 - 1 messages counted, with that limit: over, and no error of PostgreSQL's integers."""
    await door.admit(candidate(said=limited(1)))
    await door.db.execute("UPDATE daily_limits SET count = 2147483647")
    [outcome] = await door.admit(candidate(said=says("daily_limit", Quota(2**31 - 1, cost=2_000_000_000))))
    assert outcome.outcome == "over"
    assert await door.counted() > 2_146_000_000


async def test_everything_that_a_message_says_is_kept_as_it_was_said(door: Door) -> None:
    """Quotes, backslashes, braces and other scripts in each text; in one batch with messages that have none of it."""
    odd = "a \"quoted\" \\ {brace}, NULL, 'one', \u2603 \U0001f600\n\t"
    fields = {"reply_to": odd, "client_ref": odd, "answers": odd, "mentions": (odd, "628222"), "content": odd}
    full, plain = candidate(**fields), candidate("628222")
    assert [o.outcome for o in await door.admit(plain, full, candidate("628333"))] == ["queued"] * 3
    rows = await door.db.fetch(
        "SELECT content, reply_to, mentions, client_ref, answers FROM messages WHERE id IN (%s, %s) ORDER BY recipient",
        (full.message.id, plain.message.id),
    )
    assert rows == [(odd, odd, [odd, "628222"], odd, odd), ("hi", None, [], None, None)]


async def test_a_refused_request_gives_its_key_back(door: Door) -> None:
    """The same key works when the limit allows it: refusals are not remembered."""
    [refused] = await door.admit(candidate(said=limited(0), client_ref="k"))
    [accepted] = await door.admit(candidate(said=limited(1), client_ref="k"))
    assert (refused.outcome, accepted.outcome) == ("over", "queued")


async def test_a_batch_repeated_after_an_unknown_end_is_the_same_batch(door: Door) -> None:
    """The ids are known: the same answers, nothing stored or counted twice, with and without keys."""
    batch = encode([candidate(said=limited(2), client_ref=ref) for ref in ("a", None, "c")])
    first = await door.store.admit(batch)
    again = await door.store.admit(batch)
    assert [o.outcome for o in first] == ["queued", "queued", "over"]
    assert [o.outcome for o in again] == ["replayed", "replayed", "over"]
    assert [o.message_id for o in again] == [o.message_id for o in first]
    assert [o.quota for o in again][:2] == [o.quota for o in first][:2]
    assert await door.counted() == 2
    await door.check_books()


async def test_a_batch_that_was_stored_is_a_replay_though_its_key_is_revoked_meanwhile(door: Door) -> None:
    """Who repeats a batch to make certain must hear what happened, not what would happen now."""
    batch = encode([candidate(said=limited(2))])
    await door.store.admit(batch)
    await door.db.execute("DELETE FROM api_keys")
    [again] = await door.store.admit(batch)
    assert again.outcome == "replayed"


async def test_a_revoked_key_is_refused_inside_the_statement(door: Door) -> None:
    """Also when it was revoked behind everybody's back a moment ago; a changed key is a revoked key."""
    await door.db.execute("UPDATE api_keys SET api_key = 'sk_new' WHERE tenant_id = 'shop'")
    [changed] = await door.admit(candidate(client_ref="k"))
    await door.db.execute("DELETE FROM api_keys")
    [deleted] = await door.admit(candidate())
    assert (changed.outcome, deleted.outcome) == ("revoked", "revoked")
    assert await door.statuses() == {}
    assert await door.db.fetch("SELECT * FROM idempotency_keys") == []


async def test_a_plain_key_of_the_old_system_counts_as_its_digest(door: Door) -> None:
    """Rows of the old gateway work as they are."""
    await door.db.execute("UPDATE api_keys SET api_key = 'sk_old'")
    [(digest,)] = await door.db.fetch("SELECT 'sha256:' || encode(sha256('sk_old'), 'hex')")
    assert await door.store.keys() == {digest: "shop"}
    assert await door.store.tenant_of_key(digest) == "shop"
    assert await door.store.key_alive("shop", digest)


async def test_a_whitelisted_number_passes_at_limit_zero_and_counts_again_when_removed(door: Door) -> None:
    """The list is looked up inside the statement; what is waived is not counted and not paced."""
    await door.store.whitelist_add("shop", "628111")
    [passed] = await door.admit(candidate(said=limited(0), gap=5))
    assert (passed.outcome, passed.quota, passed.waived) == ("queued", None, ("daily_limit", "delay"))
    message = await door.store.message("shop", passed.message_id)
    assert message is not None
    assert (message.gap_ms, message.gaps) == (0, {"delay": 5000})
    await door.store.whitelist_remove("shop", "628111")
    [refused] = await door.admit(candidate(said=limited(0), gap=5))
    assert refused.outcome == "over"
    assert await door.counted() == 0


async def test_another_tenants_whitelist_and_counter_mean_nothing_here(door: Door) -> None:
    """Two tenants, one number: two lists, two counters."""
    await door.store.add_tenant("bank", "sha256:" + "1" * 64)
    await door.store.whitelist_add("bank", "628111")
    await door.admit(candidate(said=limited(1)))
    [refused] = await door.admit(candidate(said=limited(1)))
    assert refused.outcome == "over"
    assert await door.counted(tenant="bank") == 0


async def test_whoever_wrote_within_24_hours_is_listed_as_reply(door: Door) -> None:
    """Listed.REPLY holds for the chat that wrote, for a day."""
    said = says("bot", Quota(0), Exempt(("bot",), when=Listed.REPLY))
    await door.db.execute(
        "INSERT INTO incoming_messages (tenant_id, id, chat, sender, content, at) VALUES"
        " ('shop', 'A', '628111', '628111', 'hi', now() - interval '23 hours'),"
        " ('shop', 'B', '628222', '628222', 'hi', now() - interval '25 hours')"
    )
    recent, old = await door.admit(candidate(said=said), candidate("628222", said=said))
    assert (recent.outcome, old.outcome) == ("queued", "over")


async def test_all_quotas_fit_or_none_is_counted(door: Door) -> None:
    """The second quota refuses: the first one's counter has not moved, for either order of names."""
    for plugin in ("aaa", "zzz"):
        said = (*limited(5), *says(plugin, Quota(1, per="tenant", period="week")))
        outcomes = await door.admit(*(candidate(said=said) for _ in range(3)))
        assert [o.outcome for o in outcomes] == ["queued", "over", "over"]
        assert outcomes[1].quota is not None
        assert (outcomes[1].quota.name, outcomes[1].quota.used) == (plugin, 1)
    assert await door.counted() == 2
    await door.check_books()


async def test_two_quotas_on_one_counter_count_once(door: Door) -> None:
    """Two plugins may limit the same thing: the smaller limit holds, and a message counts one."""
    said = (*says("one", Quota(3, name="promo")), *says("two", Quota(2, name="promo")))
    outcomes = await door.admit(*(candidate(said=said) for _ in range(3)))
    assert [o.outcome for o in outcomes] == ["queued", "queued", "over"]
    assert await door.db.fetch("SELECT used FROM quota_counters") == [(2,)]


async def test_a_cost_counts_as_many(door: Door) -> None:
    """A message of cost 3 fits three times into 10, and the fourth is refused at 9."""
    outcomes = await door.admit(*(candidate(said=says("x", Quota(10, cost=3))) for _ in range(4)))
    assert [o.outcome for o in outcomes] == ["queued", "queued", "queued", "over"]
    assert outcomes[3].quota is not None
    assert outcomes[3].quota.used == 9


async def test_a_limit_as_large_as_an_integer_does_not_overflow(door: Door) -> None:
    """No sum beyond 2^31 can fail a batch that carries other tenants' messages."""
    largest = 2**31 - 1
    outcomes = await door.admit(*(candidate(said=says("x", Quota(largest, cost=largest))) for _ in range(2)))
    assert [o.outcome for o in outcomes] == ["queued", "over"]


async def test_a_scheduled_message_counts_on_the_day_of_its_sending(door: Door) -> None:
    """Today's limit is used up; tomorrow's is not."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    outcomes = await door.admit(
        candidate(said=limited(1)),
        candidate(said=limited(1)),
        candidate(said=limited(1), send_at=tomorrow, lifetime=2 * 86400),
    )
    assert [o.outcome for o in outcomes] == ["queued", "over", "queued"]
    days = await door.db.fetch("SELECT count FROM daily_limits ORDER BY date")
    assert days == [(1,), (1,)]


async def test_at_the_tenants_midnight_the_counter_begins_anew(door: Door) -> None:
    """One second before and after midnight in Jakarta, whatever the server's date."""
    midnight = datetime(2026, 11, 22, 17, tzinfo=UTC)
    moments = [midnight - timedelta(seconds=1), midnight - timedelta(seconds=1), midnight]
    outcomes = await door.admit(*(candidate(said=limited(1), at=at, lifetime=10**8) for at in moments))
    assert [o.outcome for o in outcomes] == ["queued", "over", "queued"]
    assert outcomes[1].quota is not None
    assert outcomes[1].quota.resets_at == midnight
    dates = await door.db.fetch("SELECT date::text, count FROM daily_limits ORDER BY date")
    assert dates == [("2026-11-22", 1), ("2026-11-23", 1)]


async def test_a_counter_of_the_old_system_is_gone_on_with(door: Door) -> None:
    """Also one whose count is NULL, which its column allows."""
    today = (datetime.now(UTC) + timedelta(hours=7)).date()
    await door.db.execute(
        "INSERT INTO daily_limits (tenant_id, phone_number, date, count) VALUES ('shop', '628111', %s, 2),"
        " ('shop', '628222', %s, NULL)",
        (today, today),
    )
    outcomes = await door.admit(*(candidate(to, said=limited(3)) for to in ("628111", "628111", "628222")))
    assert [o.quota.used if o.quota else None for o in outcomes] == [3, 3, 1]
    assert [o.outcome for o in outcomes] == ["queued", "over", "queued"]


async def test_a_preview_says_what_would_be_and_leaves_nothing(door: Door) -> None:
    """Same enforcer, no trace: no message, no counter, no line."""
    [seen] = await door.store.preview(encode([candidate(said=limited(3), gap=2)]))
    assert (seen.outcome, seen.quota.used if seen.quota else None) == ("queued", 1)
    for table in ("messages", "daily_limits", "lines", "idempotency_keys"):
        assert await door.db.fetch(f"SELECT * FROM {table}") == []


async def test_everything_said_is_kept_with_the_message(door: Door) -> None:
    """The explanation, what was waived, the gaps asked for and the history are read back."""
    [outcome] = await door.admit(candidate(said=limited(3), gap=2.5))
    message = await door.store.message("shop", outcome.message_id)
    assert message is not None
    assert [said["plugin"] for said in message.explanation] == ["whitelist", "daily_limit"]
    assert message.explanation[1]["limit"] == 3
    assert (message.gap_ms, message.gaps, message.waived) == (2500, {"delay": 2500}, [])
    assert [entry["status"] for entry in message.history] == ["queued"]
    assert await door.store.message("bank", outcome.message_id) is None


async def test_a_replay_of_a_row_that_is_refused_in_the_same_batch_is_refused_too(door: Door) -> None:
    """One key twice in one batch, from HTTP and from a plugin: nobody is told of a message that does not exist."""
    outcomes = await door.admit(*(candidate(said=limited(0), client_ref="k") for _ in range(2)))
    assert [o.outcome for o in outcomes] == ["over", "over"]
    assert await door.db.fetch("SELECT * FROM idempotency_keys") == []
