"""POST /api/send-message: what it answers, once, again, later, and when the limit is reached."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from core.errors import DatabaseUnavailable, SendFailed
from core.windows import window
from tests.service.conftest import NUMBER, SLOW, UNPACED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.service.conftest import House

    OpenHouse = Callable[..., Awaitable[House]]

JAKARTA = ZoneInfo("Asia/Jakarta")
LATER = (datetime.now(UTC) + timedelta(days=2)).isoformat()


def moment(text: str) -> datetime:
    """A time as the gateway writes it: in UTC, ending in Z."""
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


async def test_the_answer(house: House) -> None:
    """202 with exactly the promised fields, and where to ask for the message."""
    answer = await house.send("+62 812-3456-789")
    quota = answer.body["quota"]
    assert answer.status == 202
    assert list(answer.body) == ["id", "status", "to", "expected_at", "ahead", "quota"]
    assert (answer.body["status"], answer.body["to"], answer.body["ahead"]) == ("queued", NUMBER, 0)
    assert answer.headers["Location"] == f"/api/messages/{answer.body['id']}"
    assert answer.headers["Content-Type"] == "application/json"
    assert abs(moment(answer.body["expected_at"]) - datetime.now(UTC)) < timedelta(minutes=5)
    assert list(quota) == ["limit", "used", "remaining", "resets_at"]
    assert (quota["limit"], quota["used"], quota["remaining"]) == (3, 1, 2)
    assert moment(quota["resets_at"]).astimezone(JAKARTA).strftime("%H:%M") == "00:00"
    assert "Idempotency-Replayed" not in answer.headers


async def test_the_quota_is_null(open_house: OpenHouse) -> None:
    """For a recipient on the whitelist and for a tenant without the plugin there is no quota to tell of."""
    house = await open_house(beta={"plugins": {"api_key": {}}})
    await house.call("POST", "/api/whitelist", json={"number": NUMBER})
    assert (await house.send()).body["quota"] is None
    assert (await house.send(key="beta")).body["quota"] is None


async def test_all_fields_arrive(house: House) -> None:
    """What the body asks for is what the stored message says."""
    asked = {"priority": "urgent", "expires_in": 60, "reply_to": "3EB0ABC", "mentions": ["0812-0000-1111"]}
    answer = await house.send(client_ref="order 7", send_at="2099-01-01T00:00:00+07:00", **asked)
    assert answer.body["field"] == "send_at"
    answer = await house.send(client_ref="order 7", send_at=LATER, **asked)
    story = (await house.call("GET", answer.headers["Location"])).body
    assert (story["priority"], story["reply_to"], story["mentions"]) == ("urgent", "3EB0ABC", ["6281200001111"])
    assert (story["client_ref"], story["message"], story["status"]) == ("order 7", "hello", "queued")
    assert moment(story["send_at"]) == datetime.fromisoformat(LATER)
    assert moment(story["expires_at"]) == datetime.fromisoformat(LATER) + timedelta(seconds=60)


async def test_over_the_limit(house: House) -> None:
    """The fourth message of a day is 429, with what is used and the whole seconds until the tenant's midnight; it is
    neither counted nor stored."""
    for _ in range(3):
        assert (await house.send()).status == 202
    before = datetime.now(UTC)
    answer = await house.send(client_ref="fourth")
    after = datetime.now(UTC)
    resets_at, wait = moment(answer.body["quota"]["resets_at"]), answer.body["retry_after"]
    assert (answer.status, answer.body["code"], answer.body["quota"]["name"]) == (429, "limit_reached", "daily_limit")
    assert answer.body["quota"] == {**answer.body["quota"], "limit": 3, "used": 3, "remaining": 0}
    assert resets_at in {window("day", before, JAKARTA).end, window("day", after, JAKARTA).end}
    assert (resets_at - after).total_seconds() <= wait <= math.ceil((resets_at - before).total_seconds())
    assert answer.headers["Retry-After"] == str(wait)
    assert house.rows("SELECT count(*) FROM messages") == [(3,)]
    assert house.rows("SELECT count FROM daily_limits") == [(3,)]
    assert house.rows("SELECT count(*) FROM idempotency_keys") == [(0,)]


async def test_fifty_equal_keys_at_once(house: House) -> None:
    """One row, one id, one count, fifty equal bodies; all but one say that they are replays."""
    key = {"Idempotency-Key": "once"}
    answers = await asyncio.gather(*(house.send(send_at=LATER, headers=key) for _ in range(50)))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.raw for answer in answers}) == 1
    assert [answer.headers.get("Idempotency-Replayed") for answer in answers].count("true") == 49
    assert house.rows("SELECT count(*) FROM messages") == [(1,)]
    assert house.rows("SELECT count FROM daily_limits") == [(1,)]


async def test_the_same_key_again(house: House) -> None:
    """The header and client_ref are one key. Another body under it is 409; the same one is answered with the id."""
    first = await house.send(client_ref="a")
    again = await house.send("0812-3456-789", headers={"Idempotency-Key": "a"})
    both = await house.send(client_ref="a", headers={"Idempotency-Key": "a"})
    other = await house.send(text="other", client_ref="a")
    assert again.body["id"] == both.body["id"] == first.body["id"]
    assert again.headers["Location"] == first.headers["Location"]
    assert (other.status, other.body["code"]) == (409, "idempotency_key_reused")
    assert house.rows("SELECT count(*) FROM messages") == [(1,)]


async def test_a_replay_tells_the_present(house: House) -> None:
    """After the message was sent, its key answers with its id and the status it has now."""
    first = await house.send(client_ref="a")
    await house.until(first, "sent")
    async with asyncio.timeout(60):  # for a second, equal requests share one answer
        while (again := await house.send(client_ref="a")).body["status"] != "sent":
            await asyncio.sleep(0.05)
    assert (again.status, again.body["id"]) == (202, first.body["id"])
    assert again.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        (["a", "b"], "two_idempotency_keys"),
        ([""], "idempotency_key_invalid"),
        (["x" * 256], "idempotency_key_invalid"),
        (["a\tb"], "idempotency_key_invalid"),
    ],
)
async def test_bad_keys(house: House, keys: list[str], code: str) -> None:
    """Keys that differ, and keys that nobody can print or keep, are refused."""
    answer = await house.send(headers=[("Idempotency-Key", key) for key in keys])
    assert (answer.status, answer.body["code"]) == (400, code)
    assert house.rows("SELECT count(*) FROM messages") == [(0,)]


async def test_header_and_field_differ(house: House) -> None:
    """Idempotency-Key and client_ref that say different things are refused."""
    answer = await house.send(client_ref="a", headers={"Idempotency-Key": "b"})
    assert (answer.status, answer.body["code"]) == (400, "two_idempotency_keys")


async def test_dry_run(open_house: OpenHouse) -> None:
    """?dry_run=1 tells what would happen and why, and nothing happens."""
    house = await open_house(alpha={"plugins": {**SLOW, "daily_limit": {"limit": 1}}})
    before = house.traces()
    would = await house.send(params={"dry_run": "1"}, client_ref="a")
    assert house.traces() == before
    await house.send()
    wont = await house.send(params={"dry_run": "true"})
    assert (would.status, wont.status) == (200, 200)
    assert list(would.body) == list(wont.body)
    assert (would.body["dry_run"], would.body["allowed"], would.body["to"]) == (True, True, NUMBER)
    assert (would.body["gaps"], would.body["ahead"], would.body["quota"]["used"]) == ({"delay": 3600.0}, 0, 1)
    assert [said["plugin"] for said in would.body["explanation"]] == ["whitelist", "daily_limit"]
    assert (wont.body["allowed"], wont.body["status"], wont.body["code"]) == (False, 429, "limit_reached")
    assert (wont.body["expected_at"], wont.body["ahead"]) == (None, None)
    assert house.rows("SELECT count(*) FROM messages") == [(1,)]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("dry_run=maybe", "parameter_invalid"),
        ("dryrun=1", "parameter_unknown"),
        ("dry_run=1&dry_run=0", "parameter_twice"),
    ],
)
async def test_parameters(house: House, query: str, code: str) -> None:
    """A mistyped dry_run must not send."""
    body = {"number": NUMBER, "message": "x"}
    answer = await house.call("POST", f"/api/send-message?{query}", json=body)
    assert (answer.status, answer.body["code"]) == (400, code)
    assert house.rows("SELECT count(*) FROM messages") == [(0,)]


async def test_prefer_wait(house: House) -> None:
    """Prefer: wait=N answers 200 with the status as soon as the message is sent, and says that it waited."""
    answer = await house.send(headers={"Prefer": "respond-async, Wait=60"})
    assert (answer.status, answer.body["status"], answer.body["cause"]) == (200, "sent", None)
    assert answer.headers["Preference-Applied"] == "wait=60"
    assert "Preference-Applied" not in (await house.send()).headers


async def test_answer_sent(open_house: OpenHouse) -> None:
    """A tenant with `answer: sent` is answered when the message was sent; Prefer: wait=0 says otherwise."""
    house = await open_house(alpha={"answer": "sent"})
    answer = await house.send()
    at_once = await house.send(headers={"Prefer": "wait=0"}, send_at=LATER)
    assert (answer.status, answer.body["status"]) == (200, "sent")
    assert (at_once.status, at_once.body["status"]) == (202, "queued")


async def test_waiting_ends(open_house: OpenHouse) -> None:
    """When the time is over the answer is 202 with the status; a message for later is not waited for."""
    house = await open_house(alpha={"plugins": SLOW, "answer": "sent"})
    assert (await house.send()).status == 200
    behind = await house.send(headers={"Prefer": "wait=1"})
    later = await house.send(send_at=LATER)
    assert (behind.status, behind.body["status"]) == (202, "queued")
    assert (later.status, later.body["status"]) == (202, "queued")


async def test_a_failure_is_told(house: House) -> None:
    """Who waits for a message that fails hears 202 with the status and the cause."""
    house.gateway.dry_run.answers.append(SendFailed("not_on_whatsapp"))
    answer = await house.send(headers={"Prefer": "wait=60"})
    assert (answer.status, answer.body["status"], answer.body["cause"]) == (202, "failed", "not_on_whatsapp")


async def test_an_outage_while_waiting(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is stored: when PostgreSQL goes away while its caller waits, the answer is 202, never a 503 after
    which it would be sent once more."""

    async def away(*_: Any) -> None:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(house.gateway.store, "message", away)
    answer = await house.send(headers={"Prefer": "wait=60"}, send_at=datetime.now(UTC).isoformat())
    assert (answer.status, answer.body["status"]) == (202, "queued")


async def test_shutdown_ends_waiting(open_house: OpenHouse) -> None:
    """A gateway that stops does not keep those who wait, and does not leave them without an answer."""
    house = await open_house(alpha={"plugins": SLOW})
    await house.send()
    waiting = asyncio.create_task(house.send(headers={"Prefer": "wait=60"}))
    while house.rows("SELECT count(*) FROM messages") != [(2,)]:
        await asyncio.sleep(0.01)
    house.stop.set()
    answer = await waiting
    assert (answer.status, answer.body["status"]) == (202, "queued")


async def test_expected_at_is_null(open_house: OpenHouse) -> None:
    """Where nobody can promise a time, because the session is not connected, none is promised."""
    house = await open_house(alpha={"transport": "whatsapp", "plugins": UNPACED})
    assert (await house.send()).body["expected_at"] is None
