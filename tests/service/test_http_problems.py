"""Every error has one shape, and says nothing that it should not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from core.errors import DatabaseUnavailable, StatementTimeout
from tests.service.conftest import NUMBER, UNPACED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.service.conftest import Answer, House

    OpenHouse = Callable[..., Awaitable[House]]

TROUBLE = """
import asyncio
from core import Deny, Forbidden, OverLimit, hookimpl

@hookimpl
async def admit(message):
    match message.content:
        case "raise": raise ValueError("the inside of a plugin")
        case "nonsense": return 5
        case "deny": return Deny("too rude: 100%", "not like this")
        case "later": return Deny("later", "not now", retry_after=1.2)
        case "forbid": raise Forbidden("no", "never", hint="a \\ud800 hint")
        case "over": raise OverLimit("slow_down", "somewhat later")
        case "odd": raise OverLimit("odd", "odd", retry_after=float("inf"), thing=object())
"""


def check(answer: Answer, status: int, code: str, *more: str) -> None:
    """The one shape: these members in this order after what the refusal itself carries."""
    body, shape = answer.body, ["type", "title", "status", "detail", "code"]
    assert answer.status == body["status"] == status
    assert body["code"] == code
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert sorted(body) == sorted([*shape, *more])
    assert all(isinstance(body[name], str) and body[name] for name in ("type", "title", "detail", "code"))
    if status in {429, 503}:
        assert answer.headers["Retry-After"] == str(body["retry_after"])
        assert isinstance(body["retry_after"], int)


async def test_one_shape(house: House) -> None:
    """From every source of errors the same members come: ours, aiohttp's, a quota's."""
    check(await house.call("GET", "/api/status", key=None), 401, "unauthorized")
    check(await house.call("GET", "/nothing", key=None), 404, "not_found")
    check(await house.call("GET", "/api/nothing"), 404, "not_found")
    check(await house.call("GET", "/api/messages/1"), 404, "message_not_found")
    check(await house.call("DELETE", "/healthz", key=None), 405, "method_not_allowed")
    check(await house.send(""), 422, "number_empty", "field")
    check(await house.send("62812"), 422, "number_too_short", "field")
    check(await house.call("POST", "/api/send-message", data=b"x"), 415, "content_type")
    for _ in range(3):
        await house.send()
    check(await house.send(), 429, "limit_reached", "quota", "retry_after")


async def test_the_problem_itself(house: House) -> None:
    """One problem, whole."""
    assert (await house.call("GET", "/api/nothing")).body == {
        "type": "urn:gapura:not_found",
        "title": "Not Found",
        "status": 404,
        "detail": "there is nothing at this path",
        "code": "not_found",
    }


async def test_methods_that_a_path_does_not_know(house: House) -> None:
    """405 names in Allow what the path does know."""
    answer = await house.call("PATCH", "/api/whitelist")
    assert answer.status == 405
    assert set(answer.headers["Allow"].split(",")) == {"GET", "HEAD", "POST", "DELETE"}


async def test_what_plugins_do(open_house: OpenHouse, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A plugin that crashes or answers nonsense is 503, named in the log and not in the answer; what it refuses on
    purpose arrives, however odd."""
    (tmp_path / "trouble.py").write_text(TROUBLE)
    house = await open_house(plugins_dir=tmp_path, alpha={"plugins": {**UNPACED, "trouble": {}}})
    for text in ("raise", "nonsense"):
        caplog.clear()
        answer = await house.send(text=text)
        check(answer, 503, "plugin_failed", "retry_after")
        assert b"trouble" not in answer.raw
        assert b"inside" not in answer.raw
        [line] = [record for record in caplog.records if getattr(record, "action", "") == "plugin_failed"]
        assert (line.plugin, line.hook) == ("trouble", "admit")  # type: ignore[attr-defined]
    denied = await house.send(text="deny")
    check(denied, 403, "too rude: 100%")
    assert denied.body["type"] == "urn:gapura:too%20rude%3A%20100%25"
    later, over, odd = [await house.send(text=text) for text in ("later", "over", "odd")]
    check(later, 429, "later", "retry_after")
    check(over, 429, "slow_down", "retry_after")
    assert (later.body["retry_after"], over.body["retry_after"]) == (2, 60)
    assert (odd.status, odd.body["code"]) == (429, "odd")
    assert (await house.send(text="forbid")).status == 403
    assert house.rows("SELECT count(*) FROM messages") == [(0,)]
    assert (await house.send(text="raise", key="beta")).status == 202


@pytest.mark.parametrize("error", [DatabaseUnavailable("host 10.0.0.1 is away"), StatementTimeout("too slow")])
async def test_an_outage(house: House, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """While PostgreSQL is away every route answers 503 with Retry-After, and not where PostgreSQL is."""

    async def away(*_: Any, **__: Any) -> None:
        raise error

    for name in ("admit", "key_alive", "tenant_of_key"):
        monkeypatch.setattr(house.gateway.store, name, away)
    for answer in (
        await house.send(),
        await house.call("GET", "/api/status"),
        await house.call("GET", "/api/whitelist"),
    ):
        check(answer, 503, "unavailable", "retry_after")
        assert b"10.0.0.1" not in answer.raw


async def test_what_nobody_foresaw(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """500 without a word about the inside, which the log tells."""

    async def broken(*_: Any) -> None:
        raise RuntimeError("the inside")

    monkeypatch.setattr(house.gateway.store, "whitelist", broken)
    answer = await house.call("GET", "/api/whitelist")
    check(answer, 500, "internal_error")
    assert b"inside" not in answer.raw
    [line] = [record for record in caplog.records if getattr(record, "action", "") == "http.internal_error"]
    assert line.levelno == logging.ERROR
    assert "the inside" in caplog.text


async def test_a_long_url(house: House) -> None:
    """A request line beyond what HTTP servers take is a problem too."""
    answer = await house.call("GET", f"/api/quota/{'6' * 20_000}")
    check(answer, 400, "bad_http")
    assert (await house.send(NUMBER)).status == 202
