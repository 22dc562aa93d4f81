"""STOP: one confirmation, and nothing more until START; through every door."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from core.channels import INCOMING
from core.errors import DatabaseUnavailable
from core.model import Incoming
from tests.service.conftest import ALPHA, NUMBER, SLOW, UNPACED, House, running, settings_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    Open = Callable[[], AbstractAsyncContextManager[House]]

ECHO = """
from core import Refused, hookimpl

@hookimpl
async def on_message(message, gateway):
    if message.content == "send":
        try:
            return "sent " + await gateway.send("+" + message.sender, "from a plugin")
        except Refused as refused:
            gateway.log.warning("send refused: %s", refused.code)
    return f"echo: {message.content}"
"""

STRICT = {
    **UNPACED,
    "daily_limit": {"limit": 1000},
    "echo": {},
    "opt_out": {"confirmation": "bye", "welcome_back": "hi"},
}
KIND = {**STRICT, "opt_out": {"allow_transactional": True}}


@pytest.fixture
def opened(database_url: str, tmp_path: Path) -> Open:
    """Opens a gateway, on the same database each time: alpha is strict, kind lets transactional messages pass, slow
    waits for an hour between two messages."""
    (tmp_path / "echo.py").write_text(ECHO)
    slow = {**SLOW, "opt_out": {}}
    settings = settings_of(
        tmp_path, alpha={"plugins": STRICT}, kind={"plugins": KIND}, slow={"plugins": slow}, beta={"plugins": UNPACED}
    )
    return lambda: running(database_url, settings)


@pytest.fixture
async def house(loop: asyncio.AbstractEventLoop, opened: Open) -> AsyncIterator[House]:
    async with opened() as house:
        for tenant in ("kind", "slow"):
            await house.add_tenant(tenant)
        yield house


async def writes(house: House, text: str, *, tenant: str = ALPHA, **more: Any) -> list[dict[str, Any]]:
    """NUMBER writes to the tenant; what came of it: {plugin: id | refused}."""
    base = {"id": uuid.uuid4().hex, "chat": NUMBER, "sender": NUMBER, "phone": NUMBER}
    message = Incoming(tenant=tenant, content=text, at=datetime.now(UTC), **{**base, **more})
    store = house.gateway.store
    await store.add_incoming(message)
    await store.notify(INCOMING)
    async with asyncio.timeout(60):
        while (replies := await store.incoming_replies(tenant, message.id)) is None:
            await asyncio.sleep(0.01)
    return replies


def outcomes(replies: list[dict[str, Any]]) -> dict[str, str | None]:
    """Plugin -> why its reply was refused, or None."""
    return {reply["plugin"]: reply.get("refused") for reply in replies}


def contents(house: House, tenant: str = ALPHA) -> list[str]:
    rows = house.rows("SELECT content FROM messages WHERE tenant_id = %s ORDER BY seq", (tenant,))
    return [content for (content,) in rows]


async def test_stop_is_confirmed_once_and_then_nothing_goes(house: House) -> None:
    """Not the bot's answer to the STOP itself, not to the next message, not over HTTP, though the number is on the
    whitelist; the second STOP is not even confirmed."""
    await house.call("POST", "/api/whitelist", json={"number": NUMBER})
    assert outcomes(await writes(house, "Stop!")) == {"opt_out": None, "echo": "opted_out"}
    assert outcomes(await writes(house, "hello?")) == {"echo": "opted_out"}
    assert outcomes(await writes(house, "STOP")) == {"echo": "opted_out"}
    assert outcomes(await writes(house, "send")) == {"echo": "opted_out"}
    refused = await house.send(headers={"Idempotency-Key": "k"})
    assert (refused.status, refused.body["code"]) == (403, "opted_out")
    assert contents(house) == ["bye"]
    assert house.rows("SELECT * FROM idempotency_keys") == house.rows("SELECT * FROM daily_limits") == []
    assert (await house.send("+6281111111111")).status == 202


async def test_start_brings_back(house: House) -> None:
    """With one welcome; everything goes again."""
    await writes(house, "BERHENTI")
    assert outcomes(await writes(house, "Mulai")) == {"opt_out": None, "echo": None}
    assert outcomes(await writes(house, "mulai")) == {"echo": None}
    assert (await house.send(text="news")).status == 202
    assert contents(house) == ["bye", "hi", "echo: Mulai", "echo: mulai", "news"]


async def test_it_survives_a_restart(house: House, opened: Open) -> None:
    """The list is in the database; another gateway on it keeps to it at once, the next one too."""
    await writes(house, "stop")
    async with opened() as second:
        second.keys = house.keys
        assert (await second.send()).status == 403
        await writes(second, "start")
    assert (await house.send()).status == 202


async def test_whoever_asks_first_is_told(house: House) -> None:
    """dry_run and the quota say what a send would."""
    await writes(house, "stop")
    seen = (await house.send(params={"dry_run": "1"})).body
    assert (seen["allowed"], seen["status"], seen["code"]) == (False, 403, "opted_out")
    assert seen["explanation"][-1] == {
        "plugin": "opt_out",
        "decision": "deny",
        "code": "opted_out",
        "message": "this person asked for no more messages",
        "retry_after": None,
        "when": ["opt_out"],
    }
    assert (await house.call("GET", f"/api/quota/{NUMBER}")).body["denied"]["code"] == "opted_out"
    assert (await house.call("GET", "/api/quota/6281111111111")).body["denied"] is None


async def test_old_news_opt_out_without_a_confirmation(house: House) -> None:
    """A STOP that came while the gateway was away counts; replies to old messages are not sent."""
    assert outcomes(await writes(house, "stop", backlog=True)) == {"opt_out": "backlog", "echo": "backlog"}
    assert (await house.send()).status == 403


async def test_a_stop_in_a_group_is_nobodys(house: House) -> None:
    """Neither the group nor who wrote is out."""
    group = "120363040000000000@g.us"
    assert outcomes(await writes(house, "stop", chat=group)) == {"echo": None}
    assert [(await house.send(to)).status for to in (NUMBER, group)] == [202, 202]


async def test_transactional_messages_pass_where_the_tenant_allows_it(house: House) -> None:
    """The caller says so, and the option says whether that counts; marketing is refused either way, and so are bots."""
    for tenant in (ALPHA, "kind"):
        await writes(house, "stop", tenant=tenant)
    said = [(await house.send(key=key, transactional=True)).status for key in (ALPHA, "kind")]
    assert said == [403, 202]
    assert (await house.send(key="kind")).status == (await house.send(key="kind", transactional=False)).status == 403
    assert outcomes(await writes(house, "hello", tenant="kind")) == {"echo": "opted_out"}
    assert (await house.send(transactional="yes")).body["code"] == "field_type"


async def test_the_same_key_for_a_transactional_message_is_another_request(house: House) -> None:
    """Whoever repeats a refused-in-part campaign must not be answered with the receipt."""
    first = await house.send(key="kind", client_ref="k", transactional=True)
    again, other = [await house.send(key="kind", client_ref="k", transactional=flag) for flag in (True, False)]
    assert (first.status, again.body["id"], other.status) == (202, first.body["id"], 409)


async def test_what_waits_for_whoever_opts_out_is_cancelled(house: House) -> None:
    """A paced and a scheduled message do not go after the STOP; what they counted is back, their story says why."""
    first = await house.send(key="slow")
    later = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    waiting = [await house.send(key="slow"), await house.send(key="slow", send_at=later)]
    await house.until(first, "sent", key="slow")
    await writes(house, "stop", tenant="slow")
    for message in waiting:
        story = await house.until(message, "cancelled", key="slow")
        assert story.body["cause"] == "opted_out"
    assert house.rows("SELECT sum(count) FROM daily_limits WHERE tenant_id = 'slow'") == [(1,)]


async def test_a_stop_that_the_database_could_not_take_is_not_lost(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL away in the very moment: the message is shown again, and answered once."""
    add, failures = house.gateway.opt_outs.add, [DatabaseUnavailable("away"), DatabaseUnavailable("away")]

    async def away_at_first(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return await add(*arguments)

    monkeypatch.setattr(house.gateway.opt_outs, "add", away_at_first)
    assert outcomes(await writes(house, "stop")) == {"opt_out": None, "echo": "opted_out"}
    assert contents(house) == ["bye"]
    assert (await house.send()).status == 403


async def test_a_stop_that_is_shown_again_after_a_crash_is_confirmed_once(house: House) -> None:
    """The person was out, the gateway died before anybody could say so."""
    message = Incoming(
        id="STOP-1", tenant=ALPHA, chat=NUMBER, sender=NUMBER, content="stop", at=datetime.now(UTC), phone=NUMBER
    )  # fmt: skip
    await house.gateway.opt_outs.add(ALPHA, message)
    for _ in range(2):
        assert outcomes(await writes(house, "stop", id="STOP-1")) == {"opt_out": None, "echo": "opted_out"}
        house.rows("UPDATE incoming_messages SET dispatched_at = NULL, process = 1, replies = NULL")
    assert contents(house) == ["bye"]


async def test_the_list_with_its_proof(house: House) -> None:
    """Who, since when, and the message that said so; page by page; whoever is back is not on it."""
    people = ["6281111111111", "6281222222222", NUMBER]
    for number in people:
        await writes(house, "Stop!", id=f"ID-{number}", chat=number, sender=number, phone=number)
    await writes(house, "start", chat=people[1], sender=people[1], phone=people[1])
    page = (await house.call("GET", "/api/opt-outs")).body
    assert [one["number"] for one in page["opt_outs"]] == [people[0], NUMBER]
    assert page["opt_outs"][0]["proof"] == {"message_id": f"ID-{people[0]}", "text": "Stop!", "chat": people[0]}
    assert page["next"] is None
    behind = (await house.call("GET", "/api/opt-outs", params={"after": people[0]})).body
    assert [one["number"] for one in behind["opt_outs"]] == [NUMBER]


async def test_a_long_list_goes_on(house: House) -> None:
    """A thousand a page; `next` leads to the rest."""
    house.rows(
        "INSERT INTO opt_outs (tenant_id, recipient, since, message_id, content, chat)"
        " SELECT 'alpha', 62811000000 + n, now(), n, 'stop', 62811000000 + n FROM generate_series(1, 1001) n"
    )
    first = (await house.call("GET", "/api/opt-outs")).body
    rest = (await house.call("GET", "/api/opt-outs", params={"after": first["next"]})).body
    assert (len(first["opt_outs"]), first["next"]) == (1000, "62811001000")
    assert ([one["number"] for one in rest["opt_outs"]], rest["next"]) == (["62811001001"], None)


@pytest.mark.parametrize(("query", "code"), [("after=%00", "parameter_invalid"), ("before=1", "parameter_unknown")])
async def test_what_stands_behind_the_question_mark(house: House, query: str, code: str) -> None:
    """A misspelt parameter would show the first page again and again."""
    answer = await house.call("GET", f"/api/opt-outs?{query}")
    assert (answer.status, answer.body["code"]) == (400, code)
