"""on_status and on_session: once each, in order, by one gateway, and also what happened while none was there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from core import app
from tests.service.conftest import ALPHA, UNPACED, House, running, settings_of

if TYPE_CHECKING:
    from pathlib import Path

    from core.settings import Settings

WITNESS = """
from core import hookimpl

async def note(gateway, what):
    seen = await gateway.store.get("seen") or []
    await gateway.store.set("seen", [*seen, what])

@hookimpl
async def on_status(change, gateway):
    await note(gateway, [change.message_id, change.status, change.cause])

@hookimpl
async def on_session(change, gateway):
    await note(gateway, [change.state, change.reason])
"""
LAST = """
import logging
from core import hookimpl

@hookimpl
def shutdown():
    logging.getLogger("plugin.last").warning("the last word")
"""
UNLIMITED = {**UNPACED, "daily_limit": {"limit": 10_000}}


@pytest.fixture
def witnessed(tmp_path: Path) -> Settings:
    """alpha's plugins hear of everything, beta's of nothing."""
    (tmp_path / "witness.py").write_text(WITNESS)
    return settings_of(tmp_path, alpha={"plugins": {**UNLIMITED, "witness": {}}})


async def seen(house: House, count: int) -> list[list[str | None]]:
    """What the witness has seen, when it is that much."""
    async with asyncio.timeout(60):
        while True:
            rows = house.rows("SELECT value FROM plugin_data WHERE key = 'seen'")
            if rows and len(rows[0][0]) >= count:
                return list(rows[0][0])
            await asyncio.sleep(0.01)


async def test_every_change_is_told_once_and_in_order_by_whichever_gateway(
    loop: asyncio.AbstractEventLoop, database_url: str, witnessed: Settings
) -> None:
    """Two gateways of one database hear of all; one of them tells."""
    async with running(database_url, witnessed) as house, running(database_url, witnessed) as other:
        other.keys = house.keys
        ids = [(await (house, other)[number % 2].send(text=str(number))).body["id"] for number in range(20)]
        told = await seen(house, 40)
        await asyncio.sleep(0.5)
        assert sorted(map(str, told)) == sorted(str([m, s, None]) for m in ids for s in ("queued", "sent"))
        assert len(await seen(house, 40)) == 40
        for message_id in ids:
            assert [status for who, status, _ in told if who == message_id] == ["queued", "sent"]
        assert house.rows("SELECT tenant_id FROM event_readers") == [(ALPHA,)]


async def test_what_happened_while_no_gateway_was_there_is_told_by_the_next(
    loop: asyncio.AbstractEventLoop, database_url: str, witnessed: Settings
) -> None:
    """Sessions too; and nothing twice."""
    async with running(database_url, witnessed) as house:
        first = (await house.send()).body["id"]
        await seen(house, 2)
        house.rows("INSERT INTO sessions (tenant_id) VALUES ('alpha')")
    house.rows("UPDATE sessions SET state = 'connected' WHERE tenant_id = 'alpha'")
    house.rows("UPDATE sessions SET state = 'banned', reason = 'spam' WHERE tenant_id = 'alpha'")
    house.rows("UPDATE messages SET status = 'delivered' WHERE id = %s", (first,))
    async with running(database_url, witnessed) as house:
        told = await seen(house, 5)
    assert told == [
        [first, "queued", None], [first, "sent", None], ["connected", None], ["banned", "spam"],
        [first, "delivered", None],
    ]  # fmt: skip
    assert house.rows("SELECT process FROM event_readers") == [(None,)]


async def test_what_a_gateway_was_telling_when_it_died_is_told_by_another(
    loop: asyncio.AbstractEventLoop, database_url: str, witnessed: Settings
) -> None:
    """At least once: from the last page that it had noted."""
    async with running(database_url, witnessed) as house:
        await house.send()
        await seen(house, 2)
    house.rows("UPDATE event_readers SET process = 1, seq = 1")
    async with running(database_url, witnessed) as house:
        assert [status for _, status, _ in await seen(house, 3)] == ["queued", "sent", "sent"]


async def test_at_the_end_of_a_gateway_its_plugins_have_heard_of_all(
    loop: asyncio.AbstractEventLoop, database_url: str, witnessed: Settings
) -> None:
    """What was sent in the last moment is told before `shutdown`."""
    async with running(database_url, witnessed) as house:
        for _ in range(3):
            await house.send()
    statuses = [status for _, status, _ in await seen(house, 3)]
    told = house.rows("SELECT count(*) FROM events WHERE type IN ('message.queued', 'message.sent')")
    assert [(len(statuses),)] == told


async def test_a_tenant_whose_plugins_want_to_hear_nothing_costs_nothing(
    loop: asyncio.AbstractEventLoop, database_url: str, witnessed: Settings
) -> None:
    """No row, no task; and a row of a plugin that is gone goes as well."""
    async with running(database_url, witnessed) as house:
        house.rows("INSERT INTO event_readers (tenant_id, reader, seq) VALUES ('beta', 'plugins', 0)")
        await house.until(await house.send(key="beta"), "sent", key="beta")
        async with asyncio.timeout(60):
            while house.rows("SELECT * FROM event_readers"):
                await asyncio.sleep(0.02)


async def test_plugins_and_callbacks_end_in_order_however_long_sessions_take(
    loop: asyncio.AbstractEventLoop,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They have their share of the time in which a gateway ends, also when something else would take all of it."""
    (tmp_path / "last.py").write_text(LAST)
    monkeypatch.setattr(app, "_SHUTDOWN", 60.5)
    monkeypatch.setattr(app, "_LAST_SHARE", 60.0)
    async with running(database_url, settings_of(tmp_path, alpha={"plugins": {"last": {}}})) as house:
        telling, callbacks = house.gateway.news.telling, house.gateway.news.callbacks
        closed: list[bool] = []
        close = callbacks.close

        async def closes() -> None:
            await close()
            closed.append(True)

        async def outlasts_them(_: float) -> None:
            while not (closed and telling._closing and "the last word" in caplog.text):
                await asyncio.sleep(0.01)

        callbacks.close = closes  # type: ignore[method-assign]
        house.gateway.supervisor.close = outlasts_them  # type: ignore[method-assign]
    assert errors_in(caplog) == []
    assert closed and telling._closing and "the last word" in caplog.text


async def test_what_does_not_end_in_time_is_said(
    loop: asyncio.AbstractEventLoop,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And is waited for no longer."""
    monkeypatch.setattr(app, "_SHUTDOWN", 6.0)
    monkeypatch.setattr(app, "_LAST_SHARE", 5.5)
    async with running(database_url, settings_of()) as house:
        house.gateway.supervisor.close = lambda _: asyncio.sleep(3600)  # type: ignore[method-assign,assignment]
    assert errors_in(caplog) == ["service.stopped_late"]


def errors_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What our own log calls an error, in order."""
    ours = [record for record in caplog.records if record.name.startswith("core.") and record.levelname == "ERROR"]
    return [record.action for record in ours]  # type: ignore[attr-defined]
