"""What becomes of accepted messages: in their order, in their time, with a word on every one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from core.errors import SendFailed
from tests.service.conftest import ALPHA, BETA, NUMBER, UNPACED, House, running, settings_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

UNLIMITED = {**UNPACED, "daily_limit": {"limit": 10_000}}
WITNESS = """
from core import hookimpl

@hookimpl
async def on_status(change, gateway):
    seen = await gateway.store.get("seen") or []
    await gateway.store.set("seen", [*seen, [change.message_id, change.status, change.cause]])
"""

SHOUTS = """
from dataclasses import replace
from core import hookimpl

@hookimpl
def prepare_outgoing(message):
    return replace(message, content=message.content.upper())
"""


def paced(low: float, high: float) -> dict[str, Any]:
    return {"plugins": {**UNLIMITED, "delay": {"min": low, "max": high}}}


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


async def test_a_message_is_sent_and_its_story_told(house: House) -> None:
    """queued, sending, sent, with times in order, and the transport's id."""
    story = await house.until(await house.send(), "sent")
    assert [entry["status"] for entry in story.body["history"]] == ["queued", "sending", "sent"]
    times = [moment(entry["at"]) for entry in story.body["history"]]
    assert times == sorted(times)
    [sent] = house.gateway.dry_run.sent
    assert (sent.to, sent.content) == (NUMBER, "hello")


async def test_what_a_plugin_makes_of_a_message_is_sent(
    open_house: Callable[..., Awaitable[House]], tmp_path: Path
) -> None:
    """By whom the tenant enables, and nobody else."""
    (tmp_path / "shouts.py").write_text(SHOUTS)
    shouting = {"plugins": {**UNLIMITED, "shouts": {}}}
    house = await open_house(plugins_dir=tmp_path, alpha=shouting, beta={"plugins": UNLIMITED})
    for key in (ALPHA, BETA):
        await house.until(await house.send(key=key), "sent", key=key)
    assert {(sent.tenant, sent.content) for sent in house.gateway.dry_run.sent} == {
        ("alpha", "HELLO"),
        ("beta", "hello"),
    }


@pytest.mark.parametrize(
    ("failure", "status", "cause", "counted"),
    [
        (SendFailed("refused_by_whatsapp"), "failed", "refused_by_whatsapp", 0),
        (SendFailed("timed_out", left=True), "unknown", "timed_out", 1),
        (RuntimeError("a slip in the transport"), "unknown", "transport_crashed", 1),
        (SendFailed("no text\0at all"), "failed", "not_recordable", 0),
    ],
)
async def test_a_failure_has_a_name_and_gives_back_only_what_surely_did_not_leave(
    house: House, failure: Exception, status: str, cause: str, counted: int
) -> None:
    """The next message goes on."""
    house.gateway.dry_run.answers.append(failure)
    story = await house.until(await house.send(), status)
    assert story.body["cause"] == cause
    assert house.rows("SELECT count FROM daily_limits") == [(counted,)]
    await house.until(await house.send(), "sent")


async def test_200_messages_to_one_number_go_in_the_order_of_their_acceptance(
    open_house: Callable[..., Awaitable[House]],
) -> None:
    """One after another, none overtakes."""
    house = await open_house(alpha={"plugins": UNLIMITED})
    answers = [await house.send(text=str(n)) for n in range(200)]
    await house.until(answers[-1], "sent")
    assert [message.content for message in house.gateway.dry_run.sent] == [str(n) for n in range(200)]


async def test_gaps_are_kept_and_promises_too(open_house: Callable[..., Awaitable[House]]) -> None:
    """No message goes before its promised time, and two paced sends are at least the smallest gap apart."""
    house = await open_house(alpha=paced(0.2, 0.4))
    answers = [await house.send(f"62812000000{n:02}") for n in range(6)]
    stories = [(await house.until(answer, "sent")).body for answer in answers]
    claimed = [moment(story["history"][1]["at"]) for story in stories]
    assert all(at >= moment(answer.body["expected_at"]) for at, answer in zip(claimed, answers, strict=True))
    promised = [moment(answer.body["expected_at"]) for answer in answers]
    assert all((after - before).total_seconds() >= 0.199 for before, after in pairwise(promised))


async def test_behind_a_slow_gap_urgent_goes_next_and_what_expires_never_goes(
    open_house: Callable[..., Awaitable[House]],
) -> None:
    """1,000 bulk messages wait; an urgent one goes next; one that expires in a second says so and returns its count."""
    house = await open_house(alpha=paced(4.0, 4.0))
    first = await house.send("628120000000", priority="bulk")
    await house.until(first, "sent")
    for start in range(0, 1000, 50):
        numbers = [f"62812{n:07}" for n in range(start + 1, start + 51)]
        await asyncio.gather(*(house.send(number, priority="bulk") for number in numbers))
    urgent = await house.send("628129999999", "now", priority="urgent")
    before = len(house.gateway.dry_run.sent)
    expiring = await house.send("628128888888", "late", priority="urgent", expires_in=1)
    story = await house.until(expiring, "expired")
    assert story.body["cause"] == "not_sent_in_time"
    await house.until(urgent, "sent")
    sent = [message.to for message in house.gateway.dry_run.sent]
    assert sent.index("628129999999") <= before + 1  # one may have been on its way
    assert "628128888888" not in sent
    assert house.rows("SELECT count FROM daily_limits WHERE phone_number = '628128888888'") == [(0,)]


async def test_one_tenants_queue_keeps_no_other_waiting(open_house: Callable[..., Awaitable[House]]) -> None:
    """alpha waits an hour between sends; beta does not."""
    house = await open_house(alpha=paced(3600, 3600))
    for _ in range(3):
        await house.send()
    await house.until(await house.send(key=BETA), "sent", key=BETA)


async def test_a_whitelisted_number_goes_at_once_though_the_line_is_long(
    open_house: Callable[..., Awaitable[House]],
) -> None:
    """Exempt from limit and delay; `quota` is null; the explanation says what was waived."""
    house = await open_house(alpha=paced(3600, 3600))
    for n in range(3):
        await house.send(f"62812000000{n:02}")
    await house.call("POST", "/api/whitelist", json={"number": NUMBER})
    answer = await house.send()
    assert (answer.body["quota"], answer.body["ahead"]) == (None, 0)
    story = await house.until(answer, "sent")
    assert set(story.body["waived"]) == {"daily_limit", "delay"}


async def test_plugins_hear_of_every_status_in_order(database_url: str, tmp_path: Path) -> None:
    """queued, then sent or failed with the cause; a cancelled one too."""
    (tmp_path / "witness.py").write_text(WITNESS)
    settings = settings_of(tmp_path, alpha={"plugins": {**UNLIMITED, "witness": {}}})
    async with running(database_url, settings) as house:
        house.gateway.dry_run.answers.append(SendFailed("no"))
        failed = await house.send()
        await house.until(failed, "failed")
        later = await house.send(send_at=(datetime.now(UTC) + timedelta(days=2)).isoformat())
        await house.call("DELETE", later.headers["Location"])
    [(seen,)] = house.rows("SELECT value FROM plugin_data WHERE tenant_id = %s AND plugin = 'witness'", (ALPHA,))
    assert seen == [
        [failed.body["id"], "queued", None],
        [failed.body["id"], "failed", "no"],
        [later.body["id"], "queued", None],
        [later.body["id"], "cancelled", None],
    ]


async def test_a_tenant_of_whatsapp_is_told_that_it_is_not_connected(
    open_house: Callable[..., Awaitable[House]],
) -> None:
    """Its message waits; no time is promised."""
    house = await open_house(alpha={"transport": "whatsapp"})
    answer = await house.send()
    status = await house.call("GET", "/api/status")
    assert (answer.status, answer.body["expected_at"]) == (202, None)
    assert (status.body["connected"], status.body["state"]) == (False, "unpaired")
    assert status.body["reason"]
