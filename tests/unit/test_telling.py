"""Plugins are told of a page of events; the gateway may be stopped at any moment of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from core.clock import Clock
from core.event_rows import Event, EventPage
from core.paths.telling import Telling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.hooks.dispatch import Hooks
    from core.tenants import Tenants
    from db.event_store import EventStore
    from db.reader_store import ReaderStore


class Plugins:
    """The hooks of every tenant: one plugin that wants to hear of sessions, and takes its time."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.goes_on = asyncio.Event()

    def hooks(self, _: str) -> Hooks:
        return cast("Hooks", self)

    def implements(self, hook: str) -> bool:
        return hook == "on_session"

    async def notify(self, _: str, **arguments: Any) -> None:
        await self.goes_on.wait()
        self.told.append(arguments["change"].state)


class Events:
    """The tenant's events, and how far its reader has come."""

    def __init__(self, *states: str) -> None:
        now = datetime.now(UTC)
        self.events = tuple(
            Event(seq=seq, type=f"session.{state}", at=now, chat=None, about=None, data={})
            for seq, state in enumerate(states, 1)
        )
        self.kept = 0
        self.asked, self.answers = asyncio.Event(), asyncio.Event()

    async def after(self, _: str, seq: int, most: int, types: Sequence[str]) -> EventPage:
        self.asked.set()
        await self.answers.wait()
        events = tuple(event for event in self.events if event.seq > seq and event.type in types)[:most]
        return EventPage(events, len(self.events), first=1, last=len(self.events))

    async def behind(self) -> list[str]:
        return ["shop"] if self.kept < len(self.events) else []

    async def claim(self, *_: object) -> int | None:
        return self.kept if self.kept < len(self.events) else None

    async def advance(self, _tenant: str, _process: int, seq: int, *, ends: bool) -> bool:
        self.kept = seq
        return True


def telling_of(events: Events, plugins: Plugins) -> Telling:
    return Telling(
        cast("ReaderStore", events), cast("EventStore", events), cast("Tenants", plugins), Clock(), process=1
    )


async def test_a_gateway_that_is_stopped_before_it_told_anything_leaves_it_to_the_next(monkeypatch: Any) -> None:
    """What it had only read is not noted as told."""
    monkeypatch.setattr("core.paths.telling.LAST_WORDS", 0.01)
    events, plugins = Events("connected", "banned"), Plugins()
    telling = telling_of(events, plugins)
    telling.heard("shop")
    await events.asked.wait()
    closing = asyncio.create_task(telling.close())
    while not telling._closing:
        await asyncio.sleep(0.005)
    events.answers.set()
    plugins.goes_on.set()
    await closing
    assert (plugins.told, events.kept) == ([], 0)


async def test_a_gateway_that_is_stopped_in_the_middle_notes_what_it_told(monkeypatch: Any) -> None:
    """The event that a plugin is hearing is told to its end; those behind it are left to the next gateway."""
    monkeypatch.setattr("core.paths.telling.LAST_WORDS", 0.01)
    events, plugins = Events("connected", "banned", "connected"), Plugins()
    events.answers.set()
    telling = telling_of(events, plugins)
    telling.heard("shop")
    await events.asked.wait()
    closing = asyncio.create_task(telling.close())
    while not telling._closing:
        await asyncio.sleep(0.005)
    plugins.goes_on.set()
    await closing
    assert (plugins.told, events.kept) == (["connected"], 1)


async def test_a_page_that_was_told_is_noted_to_its_end() -> None:
    """Also what behind its last event nobody here wants to hear of."""
    events, plugins = Events("connected", "banned"), Plugins()
    events.answers.set()
    plugins.goes_on.set()
    telling = telling_of(events, plugins)
    telling.heard("shop")
    await telling.close()
    assert (plugins.told, events.kept) == (["connected", "banned"], 2)
