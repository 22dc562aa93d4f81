"""One endpoint of a gateway, with a store of the test's own: what it does about errors of ours."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from core.callback_rows import Posting, Result, Work
from core.callback_settings import Endpoint
from core.clock import Clock
from core.errors import DatabaseUnavailable, StatementRejected
from core.event_rows import Event
from core.paths.callbacks import endpoint
from core.paths.callbacks.backoff import FIRST, JITTER
from core.paths.callbacks.endpoint import Line, Tools
from core.paths.callbacks.posting import Answer

if TYPE_CHECKING:
    import aiohttp

AT = datetime(2026, 1, 5, 5, 0, tzinfo=UTC)
POSTING = Posting("d1", seq=7, tries=0, failures=0, left=86400)
SECRET = "whsec_secret-path"


class Stores:
    """One delivery that is claimed once, of one event. `fails`: what goes wrong, once each, where."""

    def __init__(self, **fails: Exception) -> None:
        self.fails, self.recorded = fails, list[Result]()
        self.work = [Work(postings=(POSTING,))]

    def reach(self, place: str) -> None:
        if error := self.fails.pop(place, None):
            raise error

    async def claim(self, *_: Any) -> Work:
        return self.work.pop() if self.work else Work()

    async def after(self, *_: Any) -> Any:
        self.reach("reading")
        return SimpleNamespace(events=[Event(seq=7, type="message.sent", at=AT, chat="62", about="a", data={})])

    async def record(self, delivery: str, _: int, result: Result) -> bool:
        assert delivery == POSTING.id
        self.reach("recording")
        self.recorded.append(result)
        return True


async def delivered(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> list[Result]:
    """What is written down of the one delivery."""

    async def post(*_: Any) -> Answer:
        stores.reach("posting")
        return Answer(accepted=True, status=204)

    monkeypatch.setattr(endpoint, "post", post)
    session = cast("aiohttp.ClientSession", None)
    tools = Tools(cast("Any", stores), cast("Any", stores), Clock(), session, asyncio.Semaphore(3), 1, lambda: 0.0)
    line = Line(tools, "shop", Endpoint(url="https://erp.example.com/", unsigned=True))
    line.wake()
    async with asyncio.timeout(60):
        while stores.work or line._posts:
            await asyncio.sleep(0)
    await line.close(1)
    return stores.recorded


@pytest.mark.parametrize("place", ["reading", "posting", "recording"])
@pytest.mark.parametrize("error", [RuntimeError(SECRET), StatementRejected("22021", SECRET)])
async def test_an_error_of_ours_is_a_try_that_failed(
    place: str, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted and waits its time, lest it be posted at every look for ever. The tenant is told of what kind the
    error is and not its words; the log says it all."""
    [result] = await delivered(Stores(**{place: error}), monkeypatch)
    assert (result.status, result.error) == ("pending", f"internal error: {type(error).__name__}")
    assert FIRST * (1 - JITTER) <= result.wait <= FIRST * (1 + JITTER)
    [told] = [record for record in caplog.records if record.action == "callback.internal_error"]
    assert SECRET in told.getMessage()


@pytest.mark.parametrize("place", ["reading", "recording"])
async def test_a_database_that_is_away_is_no_failed_try(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint has done nothing wrong: it is posted again when the database is back."""
    assert await delivered(Stores(**{place: DatabaseUnavailable("gone")}), monkeypatch) == []


async def test_without_an_error_it_is_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a comparison."""
    [result] = await delivered(Stores(), monkeypatch)
    assert (result.status, result.http_status, result.error) == ("delivered", 204, None)
