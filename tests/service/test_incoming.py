"""Incoming messages: shown once, answered through the same door, and every reply accounted for."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from core.channels import INCOMING
from core.model import Incoming
from tests.service.conftest import ALPHA, NUMBER, UNPACED, House, running, settings_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ECHO = """
from core import hookimpl

@hookimpl
async def on_message(message):
    if message.content == "boom":
        raise ValueError("boom")
    if message.content == "twice":
        return ["one", message.reply("two", quote=True)]
    return f"echo: {message.content}"
"""

OTHER = """
from core import hookimpl

@hookimpl
def on_message(message):
    return "other" if message.content == "boom" else None
"""

GUARD = """
from core import Deny, hookimpl

@hookimpl
def admit(message):
    if "forbidden" in message.content:
        return Deny("bad_word", "not this word")
"""


@pytest.fixture
async def house(loop: asyncio.AbstractEventLoop, database_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """alpha has the bots, beta has none."""
    for name, text in (("echo", ECHO), ("other", OTHER), ("guard", GUARD)):
        (tmp_path / f"{name}.py").write_text(text)
    bots = {**UNPACED, "daily_limit": {"limit": 1}, "delay": {"min": 3600, "max": 3600}}
    settings = settings_of(
        tmp_path,
        alpha={"plugins": {**bots, "echo": {}, "other": {}, "guard": {}}},
        counted={"plugins": {**bots, "echo": {}}, "replies": "count"},
    )
    async with running(database_url, settings) as house:
        await house.add_tenant("counted")
        yield house


async def arrives(house: House, text: str, *, tenant: str = ALPHA, **more: Any) -> list[dict[str, Any]]:
    """A message from NUMBER; what came of it."""
    message = Incoming(
        id=more.pop("id", uuid.uuid4().hex),
        tenant=tenant,
        chat=NUMBER,
        sender=NUMBER,
        phone=NUMBER,
        content=text,
        at=datetime.now(UTC),
        **more,
    )
    store = house.gateway.store
    await store.add_incoming(message)
    await store.notify(INCOMING)
    async with asyncio.timeout(60):
        while (replies := await store.incoming_replies(tenant, message.id)) is None:
            await asyncio.sleep(0.01)
    return replies


async def test_a_bot_answers_into_the_chat(house: House) -> None:
    """The reply is a message like any other: stored, explained, sent."""
    [reply] = await arrives(house, "hi")
    story = await house.call("GET", f"/api/messages/{reply['id']}")
    assert (reply["plugin"], story.body["to"]) == ("echo", NUMBER)
    assert house.rows("SELECT content FROM messages WHERE id = %s", (reply["id"],)) == [("echo: hi",)]


async def test_several_replies_of_one_plugin_are_several_messages_in_order(house: House) -> None:
    """A str and a quoting reply."""
    first, second = await arrives(house, "twice", id="WA-1")
    texts = house.rows("SELECT id::text, content, reply_to FROM messages ORDER BY seq")
    assert texts == [(first["id"], "one", None), (second["id"], "two", "WA-1")]


async def test_a_plugin_that_raises_keeps_no_other_from_answering_and_is_named(house: House) -> None:
    """What failed stands beside what worked."""
    failed, answered = await arrives(house, "boom")
    assert (failed["plugin"], "echo" in failed["failed"]) == ("echo", True)
    assert answered["plugin"] == "other"
    assert "id" in answered


async def test_a_refused_reply_is_visible_with_its_reason(house: House) -> None:
    """Policy holds for bots too."""
    [reply] = await arrives(house, "forbidden")
    assert reply == {"plugin": "echo", "refused": "bad_word", "detail": "not this word"}


async def test_replies_to_whoever_just_wrote_are_exempt_from_limit_and_delay(house: House) -> None:
    """A bot does not go mute at the second ping, though the limit is 1 and the delay an hour."""
    ids = [(await arrives(house, f"ping {n}"))[0]["id"] for n in range(3)]
    async with asyncio.timeout(60):
        for message_id in ids:
            while (await house.call("GET", f"/api/messages/{message_id}")).body["status"] != "sent":
                await asyncio.sleep(0.01)
    assert house.rows("SELECT * FROM daily_limits") == []


async def test_with_replies_count_they_count(house: House) -> None:
    """The tenant may want its limit to hold for bots as well."""
    [first] = await arrives(house, "ping", tenant="counted")
    [second] = await arrives(house, "ping", tenant="counted")
    assert "id" in first
    assert second["refused"] == "limit_reached"


async def test_two_bots_in_one_chat_stop_at_twenty_replies_a_minute(house: House) -> None:
    """The 21st is refused by the guard; 45 cannot all pass, even if the minute turns meanwhile."""
    results = [(await arrives(house, f"ping {n}"))[0] for n in range(45)]
    assert 20 <= sum("id" in r for r in results) <= 40
    assert {r.get("refused") for r in results} == {None, "limit_reached"}


async def test_a_message_that_comes_twice_is_shown_once(house: House) -> None:
    """One row, one reply."""
    await arrives(house, "hi", id="SAME")
    await arrives(house, "hi", id="SAME")
    assert house.rows("SELECT count(*) FROM messages") == [(1,)]


async def test_a_message_whose_gateway_died_while_showing_it_is_shown_again_and_answered_once(house: House) -> None:
    """The reply was stored, its bookkeeping was not: the next showing stores the same reply."""
    [first] = await arrives(house, "hi", id="AGAIN")
    house.rows("UPDATE incoming_messages SET dispatched_at = NULL, process = 1, replies = NULL")
    [second] = await arrives(house, "hi", id="AGAIN")
    assert first == second
    assert house.rows("SELECT count(*) FROM messages") == [(1,)]


async def test_old_news_is_shown_but_not_answered(house: House) -> None:
    """A message that was older than two minutes on arrival."""
    [reply] = await arrives(house, "hi", backlog=True)
    assert reply["refused"] == "backlog"


async def test_a_tenant_without_bots_answers_nothing_and_sees_nobody_elses(house: House) -> None:
    """beta's messages go to beta's plugins only."""
    assert await arrives(house, "hi", tenant="beta") == []
    assert house.rows("SELECT count(*) FROM messages") == [(0,)]
