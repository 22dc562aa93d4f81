"""One post, and what each answer means."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from core.callback_settings import Endpoint
from core.clock import Clock
from core.event_rows import Event
from core.outbound_addresses import AddressGuard
from core.paths.callbacks.posting import MOST_KEPT, Answer, Letter, open_session, post

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from aioresponses import aioresponses

URL = "https://erp.example.com/hook/secret-path"
AT = datetime(2026, 1, 5, 5, 0, tzinfo=UTC)
EVENT = Event(seq=7, type="message.sent", at=AT, chat="62", about="a", data={"id": "a", "to": "62"})


@pytest.fixture
async def session(loop: asyncio.AbstractEventLoop) -> AsyncIterator[aiohttp.ClientSession]:
    """As the engine has it."""
    async with open_session(AddressGuard()) as opened:
        yield opened


async def posted(session: aiohttp.ClientSession, url: str = URL) -> Answer:
    """The answer to one event."""
    return await post(session, Endpoint(url=url, unsigned=True), Letter("d1", "shop", EVENT), Clock())


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_2xx_is_accepted(session: aiohttp.ClientSession, mocked_http: aioresponses, status: int) -> None:
    """Any of them, whatever else is said."""
    mocked_http.post(URL, status=status, body="thanks")
    assert await posted(session) == Answer(accepted=True, status=status)


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404, 410, 418, 429, 500, 502, 503])
async def test_anything_else_is_not(session: aiohttp.ClientSession, mocked_http: aioresponses, status: int) -> None:
    """What the receiver said is kept; only 410 is final; a redirect is not followed, and leads nowhere."""
    mocked_http.post(URL, status=status, body="no\nthanks", headers={"Location": "https://erp.example.com/there"})
    answer = await posted(session)
    assert (answer.accepted, answer.status, answer.final) == (False, status, status == 410)
    assert answer.error == (
        "no thanks" if status >= 400 else "redirects are not followed; write the URL that it leads to"
    )
    assert len(mocked_http.requests) == 1


@pytest.mark.parametrize(("status", "seconds"), [(429, 7.0), (503, 7.0), (500, None), (200, None)])
async def test_retry_after(
    session: aiohttp.ClientSession, mocked_http: aioresponses, status: int, seconds: float | None
) -> None:
    """Of those who say that it is too much for them just now, and of no others."""
    mocked_http.post(URL, status=status, headers={"Retry-After": "7"})
    assert (await posted(session)).retry_after == seconds


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError(), "no answer within 15 seconds"),
        (aiohttp.ServerTimeoutError(), "no answer within 15 seconds"),
        (aiohttp.ServerDisconnectedError(), "Server disconnected"),
        (ConnectionResetError("reset by peer"), "reset by peer"),
        (aiohttp.InvalidURL(URL), "the URL cannot be used"),
        (RuntimeError("a bug"), "cannot be posted: RuntimeError"),
    ],
)
async def test_what_goes_wrong_is_an_answer_too(
    session: aiohttp.ClientSession, mocked_http: aioresponses, error: Exception, said: str
) -> None:
    """With a reason, without a status, and without the URL."""
    mocked_http.post(URL, exception=error)
    answer = await posted(session)
    assert (answer.accepted, answer.status, answer.final) == (False, None, False)
    assert said in (answer.error or "")
    assert "secret-path" not in (answer.error or "")


async def test_only_the_beginning_of_an_answer_is_kept(
    session: aiohttp.ClientSession, mocked_http: aioresponses
) -> None:
    """300 characters, none of which could not be stored or would break a log."""
    mocked_http.post(URL, status=500, body=b"\x00\xff\r\n\x1b[31m" + b"x" * 100_000)
    error = (await posted(session)).error or ""
    assert len(error) == MOST_KEPT
    assert error.isprintable()


REFUSED = "the host is not allowed: it has no public address, and `callbacks.allow` names no such network"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_addresses_of_this_network_are_refused(session: aiohttp.ClientSession, host: str) -> None:
    """And the reason is told to whoever configured them, but not what a name means in this network: that is for the
    operator's log."""
    answer = await posted(session, f"http://{host}:9/hook")
    assert answer.error == REFUSED
    assert answer.detail in {"its address is 127.0.0.1", "its address is ::1"}


async def test_nor_is_told_which_address_did_not_answer(loop: asyncio.AbstractEventLoop) -> None:
    """Of a network that the operator allows: a name is not to be looked up by way of its errors."""
    with socket.socket() as deaf:  # bound, so that nobody else gets the port, and not listening
        deaf.bind(("127.0.0.1", 0))
        async with open_session(AddressGuard(["127.0.0.0/8", "::1/128"])) as session:
            answer = await posted(session, f"http://localhost:{deaf.getsockname()[1]}/hook")
    assert answer.error == "cannot connect: Connection refused"
    assert "127.0.0.1" in (answer.detail or "")


async def test_a_name_that_does_not_exist_says_so(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the words of whoever looked it up."""

    def look_up(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    answer = await posted(session)
    assert answer.error == "the host's name cannot be looked up: Name or service not known"


async def test_no_proxy_is_taken_from_the_environment(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would resolve names for itself, and so lead past the guard."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert (await posted(session, "http://10.0.0.1/")).error == REFUSED


async def test_the_body_is_the_same_at_every_try(session: aiohttp.ClientSession, mocked_http: aioresponses) -> None:
    """And so is the webhook-id, which is in it, too."""
    mocked_http.post(URL, status=500, repeat=True)
    for _ in range(2):
        await posted(session)
    [(_, calls)] = mocked_http.requests.items()
    first, second = (call.kwargs for call in calls)
    assert first["data"] == second["data"]
    body: dict[str, Any] = json.loads(first["data"])
    assert body == {
        "id": "d1",
        "type": "message.sent",
        "at": "2026-01-05T05:00:00Z",
        "tenant": "shop",
        "seq": 7,
        "data": {"id": "a", "to": "62"},
    }
    assert {call.kwargs["headers"]["webhook-id"] for call in calls} == {"d1"}
