"""Linking a phone over HTTP: QR codes, pairing codes, links, and the end of a session."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from core.clock import Clock
from core.sessions import remote
from core.web import qr
from tests.service.conftest import ALPHA, BETA
from tests.service.fake_sessions import PHONE, FakeSessions, fake_sessions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from core.session_rows import Command
    from tests.service.conftest import Answer, House

    OpenHouse = Callable[..., Awaitable[House]]

WHATSAPP = {"transport": "whatsapp"}
HTML = {"Accept": "text/html,application/xhtml+xml"}
OPENED_BY_LINK = {("GET", "/api/qr"), ("GET", "/api/qr/image"), ("GET", "/api/qr/page"), ("POST", "/api/pair-code")}


@pytest.fixture
async def house(open_house: OpenHouse) -> House:
    """A gateway whose tenants alpha and beta send through WhatsApp."""
    return await open_house(alpha=WHATSAPP, beta=WHATSAPP)


@pytest.fixture
async def phones(house: House) -> AsyncIterator[FakeSessions]:
    """Its session process."""
    async with fake_sessions(house.database_url) as fake:
        yield fake


async def link_of(house: House, key: str = ALPHA) -> tuple[str, str]:
    """(a link's URL, its token)"""
    url = (await house.call("POST", "/api/pair-link", key=key)).body["url"]
    return url, url.partition("token=")[2]


async def state_is(house: House, state: str, key: str = ALPHA) -> dict[str, Any]:
    """What /api/status tells once the gateway has heard of that state."""
    async with asyncio.timeout(60):
        while (told := (await house.call("GET", "/api/status", key=key)).body)["state"] != state:
            await asyncio.sleep(0.01)
    return dict(told)


def digest(token: str) -> str:
    """As a link's token is kept."""
    return hashlib.sha256(token.encode()).hexdigest()


def refusal(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.body["code"]


async def test_the_first_question_begins_to_pair(house: House, phones: FakeSessions) -> None:
    """GET /api/qr of an unpaired tenant answers with a code that a phone can scan, as text and as a picture; meanwhile
    /api/status names the picture's path, as the old callers expect. A second question begins nothing new."""
    answer = (await house.call("GET", "/api/qr")).body
    shown = phones.shown[ALPHA]
    assert (answer["connected"], answer["state"], answer["qr"]) == (False, "pairing", shown.qr)
    assert datetime.fromisoformat(answer["expires_at"]) == shown.qr_until
    assert base64.b64decode(answer["image"].removeprefix("data:image/png;base64,")) == qr.png(shown.qr or "")
    status = await state_is(house, "pairing")
    assert (status["connected"], status["qrImageUrl"]) == (False, "/api/qr/image")
    assert (await house.call("GET", "/api/qr")).body["qr"] == shown.qr
    assert [command.kind for command in phones.asked] == ["pair"]


async def test_several_at_once(house: House, phones: FakeSessions) -> None:
    """A page and a picture that ask at the same moment are shown the same attempt; nobody is told to come back in a
    minute because the other one was first."""
    paths = ["/api/qr", "/api/qr/image", "/api/qr"]
    answers = await asyncio.gather(*(house.call("GET", path) for path in paths))
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert answers[0].body["qr"] == answers[2].body["qr"] == phones.shown[ALPHA].qr
    assert [command.kind for command in phones.asked] == ["pair"]


async def test_looking_without_beginning(house: House, phones: FakeSessions) -> None:
    """`?start=0` only tells, so that a page may ask as often as it likes."""
    answer = await house.call("GET", "/api/qr?start=0")
    assert (answer.status, answer.body["state"], answer.body["qr"]) == (200, "unpaired", None)
    assert answer.body["reason"]
    assert phones.asked == []


async def test_the_picture(house: House, phones: FakeSessions) -> None:
    """/api/qr/image is a PNG of the code that is shown, and begins to pair as well; HEAD answers alike."""
    answer = await house.call("GET", "/api/qr/image")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/png")
    assert answer.raw == qr.png(phones.shown[ALPHA].qr or "")
    headed = await house.call("HEAD", "/api/qr/image")
    assert (headed.status, headed.raw) == (200, b"")


async def test_a_linked_tenant_has_no_code(house: House, phones: FakeSessions) -> None:
    """Who is connected hears so: 200 from /api/qr, as from the old gateway, with the phone's number; there is no
    picture and no second code: 409."""
    await house.call("GET", "/api/qr")
    await phones.connects(ALPHA)
    status = await state_is(house, "connected")
    assert (status["connected"], status["qrImageUrl"], status["phone"], status["sandbox"]) == (True, None, PHONE, True)
    told = (await house.call("GET", "/api/qr")).body
    assert (told["connected"], told["qr"], told["image"], told["phone"]) == (True, None, None, PHONE)
    assert refusal(await house.call("GET", "/api/qr/image")) == (409, "already_paired")
    coded = await house.call("POST", "/api/pair-code", json={"number": "0812 0000 0001"})
    assert refusal(coded) == (409, "already_paired")
    assert len(phones.asked) == 1


async def test_once_a_minute(house: House, phones: FakeSessions) -> None:
    """After an attempt that came to nothing the next one may begin a minute after the first: until then 429 with the
    seconds to wait; /api/status says why the first one ended."""
    await house.call("GET", "/api/qr")
    await phones.ends(ALPHA, "the QR code ran out")
    assert (await state_is(house, "unpaired"))["reason"] == "the QR code ran out"
    soon = await house.call("GET", "/api/qr")
    assert refusal(soon) == (429, "pairing_too_soon")
    assert 0 < int(soon.headers["Retry-After"]) <= 60
    house.rows("UPDATE sessions SET asked_at = asked_at - interval '1 minute'")
    assert (await house.call("GET", "/api/qr")).body["state"] == "pairing"


async def test_nobody_is_there(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a session process: 503 that says so, not that the database is away; and so for the other calls."""
    monkeypatch.setattr(remote, "ANSWER_WITHIN", 0.3)
    answer = await house.call("GET", "/api/qr")
    assert refusal(answer) == (503, "no_session_process")
    assert answer.headers["Retry-After"]
    assert refusal(await house.call("POST", "/api/pair-code", json={"number": PHONE})) == (429, "pairing_too_soon")
    async with fake_sessions(house.database_url) as phones:
        await phones.connects(ALPHA)
        await state_is(house, "connected")
    for path in ("/api/logout", "/api/reconnect"):
        assert refusal(await house.call("POST", path)) == (503, "no_session_process")


async def test_what_the_session_process_refuses(house: House, phones: FakeSessions) -> None:
    """Its code and its words arrive as a 409."""
    phones.refuses = "pairing_ended", "WhatsApp did not like it"
    answer = await house.call("GET", "/api/qr")
    assert (*refusal(answer), answer.body["detail"]) == (409, "pairing_ended", "WhatsApp did not like it")


async def test_a_code_for_a_number(house: House, phones: FakeSessions) -> None:
    """The number may be written as people do; the code comes as phones ask for it, with its end; /api/qr shows it."""
    answer = await house.call("POST", "/api/pair-code", json={"number": "0812-0000-0001"})
    assert (answer.status, answer.body["code"]) == (200, "ABCD-EFGH")
    assert datetime.fromisoformat(answer.body["expires_at"]) == phones.shown[ALPHA].code_until
    assert [(c.kind, c.arguments) for c in phones.asked] == [("pair", {"number": PHONE})]
    told = (await house.call("GET", "/api/qr?start=0")).body
    assert (told["code"], told["code_expires_at"]) == ("ABCD-EFGH", answer.body["expires_at"])


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"json": {"number": "abc"}}, 422, "number_letters"),
        ({"json": {"number": "120363000000000000@g.us"}}, 422, "number_not_a_phone"),
        ({"json": {"number": "900000000000001@lid"}}, 422, "number_not_a_phone"),
        ({"json": {}}, 422, "field_missing"),
        ({"json": {"number": PHONE, "tenant": "beta"}}, 422, "field_unknown"),
        ({"data": b"x"}, 415, "content_type"),
        ({"json": {"number": PHONE}, "params": {"tenant": "beta"}}, 400, "parameter_unknown"),
    ],
)
async def test_no_number_to_pair(
    house: House, phones: FakeSessions, options: dict[str, Any], status: int, code: str
) -> None:
    """What is no phone's number, or more than that, is refused, and nothing begins."""
    assert refusal(await house.call("POST", "/api/pair-code", **options)) == (status, code)
    assert phones.asked == []


async def test_a_code_for_another_number_than_before(house: House, phones: FakeSessions) -> None:
    """`?force=1` on pair-code is what `tenant pair --force` is; without it, and with 0, nothing is forced."""
    for query, arguments in (("", {}), ("?force=0", {}), ("?force=1", {"force": True})):
        assert (await house.call("POST", f"/api/pair-code{query}", json={"number": PHONE})).status == 200
        await phones.ends(ALPHA, "for the next one")
        await state_is(house, "unpaired")
        house.rows("UPDATE sessions SET asked_at = NULL")
        assert phones.asked[-1].arguments == {"number": PHONE, **arguments}
    answer = await house.call("POST", "/api/pair-code?force=perhaps", json={"number": PHONE})
    assert refusal(answer) == (400, "parameter_invalid")


async def test_a_link_for_another_number_than_before(house: House, phones: FakeSessions) -> None:
    """A link that was made with `?force=1` forces what begins with it, once for each attempt however often it is looked
    at; another link cannot be made to."""
    made = await house.call("POST", "/api/pair-link?force=1")
    token = made.body["url"].partition("token=")[2]
    _, common = await link_of(house)
    refused = await house.call("POST", f"/api/pair-code?token={common}&force=1", key=None, json={"number": PHONE})
    assert refusal(refused) == (400, "parameter_unknown")
    assert (await house.call("GET", f"/api/qr?token={common}", key=None)).status == 200
    for _ in range(3):
        assert (await house.call("GET", f"/api/qr?token={token}", key=None)).body["qr"] is not None
    assert [command.arguments for command in phones.asked] == [{}, {"force": True}]
    await phones.ends(ALPHA, "the next attempt")
    await state_is(house, "unpaired")
    house.rows("UPDATE sessions SET asked_at = NULL")
    assert (await house.call("GET", f"/api/qr/image?token={token}", key=None)).status == 200
    assert [command.arguments for command in phones.asked[2:]] == [{"force": True}]


async def test_logging_out_and_reconnecting(house: House, phones: FakeSessions) -> None:
    """Both answer with the session as it is then; without a linked phone they are 409."""
    for path in ("/api/logout", "/api/reconnect"):
        assert refusal(await house.call("POST", path)) == (409, "not_paired")
    await phones.connects(ALPHA)
    await state_is(house, "connected")
    again = await house.call("POST", "/api/reconnect")
    assert (again.status, again.body["state"], again.body["phone"]) == (200, "connecting", PHONE)
    gone = await house.call("POST", "/api/logout")
    assert (gone.status, gone.body["state"], gone.body["connected"], gone.body["phone"]) == (
        200,
        "unpaired",
        False,
        None,
    )
    assert [command.kind for command in phones.asked] == ["reconnect", "logout"]


async def test_reconnecting_tells_the_state_after_it(
    house: House, phones: FakeSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that was replaced is answered as it is opened again, also when that shows a moment later; one that
    shows nothing new is not waited for for ever."""
    await phones.connects(ALPHA)
    await phones.becomes(ALPHA, "replaced")
    await state_is(house, "replaced")
    answered = asyncio.Event()
    wait = house.gateway.sessions.wait

    async def waits(tenant: str, timeout: float) -> None:
        answered.set()
        await wait(tenant, timeout)

    async def opens() -> None:
        await answered.wait()
        await phones.becomes(ALPHA, "connecting")

    async def nothing_yet(_: Command) -> dict[str, str]:
        return {}

    phones._carry_out = nothing_yet  # type: ignore[assignment, method-assign]
    monkeypatch.setattr(remote, "RECONNECT_SHOWS", 0.01)
    assert (await house.call("POST", "/api/reconnect")).body["state"] == "replaced"
    monkeypatch.setattr(remote, "RECONNECT_SHOWS", 60.0)
    monkeypatch.setattr(house.gateway.sessions, "wait", waits)
    opening = asyncio.create_task(opens())
    assert (await house.call("POST", "/api/reconnect")).body["state"] == "connecting"
    await opening


async def test_what_stood_there_at_the_start_is_no_news(house: House, phones: FakeSessions) -> None:
    """A gateway that starts tells the states that it finds to whoever asks; news is only what changes from then on."""
    await phones.connects(ALPHA)
    heard: list[str] = []
    starting = remote.RemoteSessions(phones.store, Clock(), lambda now, _: heard.append(now.state))
    await starting.load()
    assert (starting.status(ALPHA).state, heard) == ("connected", [])
    await phones.becomes(ALPHA, "replaced")
    await phones.becomes(BETA, "banned")
    await starting.load()
    assert sorted(heard) == ["banned", "replaced"]


async def test_logging_out_too_late(house: House, phones: FakeSessions) -> None:
    """A second logout that finds the session closed by the first is told that there is no phone any more."""
    await phones.connects(ALPHA)
    await state_is(house, "connected")

    async def late(*_: Any) -> dict[str, str]:
        await phones.ends(ALPHA, "logged out on request")
        return {"refused": "not_connected", "detail": "the session is not open"}

    phones._carry_out = late  # type: ignore[assignment, method-assign]
    assert refusal(await house.call("POST", "/api/logout")) == (409, "not_paired")


async def test_dry_tenants_need_no_phone(open_house: OpenHouse) -> None:
    """All that is about linking a phone is 409 with a clear code."""
    house = await open_house()
    for method, path in (
        *OPENED_BY_LINK,
        ("POST", "/api/pair-link"),
        ("POST", "/api/logout"),
        ("POST", "/api/reconnect"),
    ):
        answer = await house.call(method, path)
        assert refusal(answer) == (409, "dry_run_tenant"), path


async def test_a_link(house: House, phones: FakeSessions) -> None:
    """It is an address of this gateway with a token, good for ten minutes for exactly the four things that a person
    needs to link a phone; the database does not hold the token."""
    before = datetime.now(UTC)
    made = await house.call("POST", "/api/pair-link")
    url, token = made.body["url"], made.body["url"].partition("token=")[2]
    assert (made.status, url) == (201, f"{house.url}/api/qr/page?token={token}")
    assert re.fullmatch(r"pl_[\w-]{43}", token)
    lives = datetime.fromisoformat(made.body["expires_at"]) - before
    assert timedelta(minutes=9, seconds=55) < lives < timedelta(minutes=11)
    assert token not in str(house.rows("SELECT * FROM pair_links"))
    shown = await house.call("GET", f"/api/qr?token={token}", key=None)
    assert (shown.status, shown.body["qr"], shown.body["tenant"]) == (200, phones.shown[ALPHA].qr, ALPHA)
    coded = await house.call("POST", f"/api/pair-code?token={token}", key=None, json={"number": PHONE})
    assert (coded.status, coded.body["code"]) == (200, "ABCD-EFGH")
    page = await house.call("GET", f"/api/qr/page?token={token}", key=None)
    picture = await house.call("GET", f"/api/qr/image?token={token}", key=None)
    assert (page.status, picture.status) == (200, 200)


async def test_a_link_opens_nothing_else(house: House) -> None:
    """On every other path its token is refused like a key in a URL, and as a header it is no key; on its own paths it
    must bear its name, and no API key passes in its place."""
    _, token = await link_of(house)
    for method, path in (
        ("GET", "/api/status"), ("POST", "/api/pair-link"), ("POST", "/api/logout"), ("POST", "/api/reconnect"),
        ("GET", "/api/whitelist"), ("POST", "/api/send-message"), ("GET", "/api/nothing"),
    ):  # fmt: skip
        for key in (None, ALPHA):
            assert refusal(await house.call(method, f"{path}?token={token}", key=key)) == (400, "key_in_url"), path
        assert (await house.call(method, path, key=token)).status == 401
    for method, path in OPENED_BY_LINK:
        assert (await house.call(method, path, key=token)).status == 401
        for query in (f"t={token}", f"token={house.keys[ALPHA]}", f"token={token}&key=x", "token=x"):
            answer = await house.call(method, f"{path}?{query}", key=None)
            assert refusal(answer) == (400, "key_in_url"), (path, query)


async def test_a_link_ends(house: House) -> None:
    """After its time, with its tenant, and if it never was one: 401, the same for all. Two at once are none."""
    _, token = await link_of(house)
    _, second = await link_of(house)
    _, of_beta = await link_of(house, BETA)
    doubled = await house.call("GET", f"/api/qr?token={token}&token={second}", key=None)
    house.rows("UPDATE pair_links SET expires_at = now() WHERE tenant_id = 'alpha'")
    house.rows("DELETE FROM api_keys WHERE tenant_id = 'beta'")
    for method, path in OPENED_BY_LINK:
        answers = [
            await house.call(method, f"{path}?token={gone}", key=None) for gone in (token, of_beta, "pl_" + "x" * 43)
        ]
        assert [refusal(answer) for answer in answers] == [(401, "link_expired")] * 3
        assert {answer.raw for answer in answers} == {doubled.raw}


async def test_a_link_is_one_tenants(house: House, phones: FakeSessions) -> None:
    """Whatever key stands beside it, a token shows its own tenant and no other."""
    _, token = await link_of(house, BETA)
    answer = await house.call("GET", f"/api/qr?token={token}", key=ALPHA)
    assert answer.body["tenant"] == BETA
    assert list(phones.shown) == [BETA]


async def test_where_a_link_leads(open_house: OpenHouse) -> None:
    """To where the caller found this gateway; what is no host is not passed on; `server.public_url` beats both."""
    house = await open_house(alpha=WHATSAPP)

    async def led(host: str) -> str:
        answer = await house.call("POST", "/api/pair-link", headers={"Host": host})
        return str(answer.body["url"]).partition("/api/qr/page?token=pl_")[0]

    assert await led("wa.example.com:8443") == "http://wa.example.com:8443"
    assert await led("[::1]:3000") == "http://[::1]:3000"
    for odd in ("evil.example/path?", "user@evil.example", "a b", '"><script>', ""):
        assert await led(odd) == house.url, odd
    proxied = await open_house(alpha=WHATSAPP, public_url="https://wa.example.com/gapura")
    url = (await proxied.call("POST", "/api/pair-link", key=house.keys[ALPHA])).body["url"]
    assert url.startswith("https://wa.example.com/gapura/api/qr/page?token=pl_")


async def test_the_page(house: House, phones: FakeSessions) -> None:
    """It is HTML that brings all it needs, with a policy that lets nothing else in and a nonce of its own each time;
    it holds no secret, and opening it begins nothing."""
    url, token = await link_of(house)
    path = urlsplit(url).path
    first, second = [await house.call("GET", f"{path}?token={token}", key=None, headers=HTML) for _ in range(2)]
    assert first.headers["Content-Type"] == "text/html; charset=utf-8"
    policies = [answer.headers["Content-Security-Policy"] for answer in (first, second)]
    assert policies[0] != policies[1]
    for word in ("default-src 'none'", "frame-ancestors 'none'", "connect-src 'self'", "form-action 'none'"):
        assert word in policies[0]
    assert "unsafe" not in policies[0]
    [nonce] = set(re.findall(r"'nonce-([^']+)'", policies[0]))
    page = first.raw.decode()
    assert page.count(f'nonce="{nonce}"') == len(re.findall(r"<(?:style|script)\b", page)) == 2
    assert not re.search(r"https?://|\son\w+=|\sstyle=|\{(?:nonce|style|script)\}", page)
    assert token not in page
    assert phones.asked == []


async def test_the_page_says_what_is_wrong(house: House, open_house: OpenHouse) -> None:
    """A person whose link is over, or whose tenant needs no phone, reads it on a page with the same status; a program
    gets the problem as everywhere."""
    expired = f"/api/qr/page?token=pl_{'x' * 43}"
    seen = await house.call("GET", expired, key=None, headers=HTML)
    assert (seen.status, seen.headers["Content-Type"]) == (401, "text/html; charset=utf-8")
    assert b"ask for a new one" in seen.raw
    assert "default-src 'none'" in seen.headers["Content-Security-Policy"]
    assert refusal(await house.call("GET", expired, key=None)) == (401, "link_expired")
    hostile = await house.call("GET", "/api/qr/page?%3Cscript%3E=1", headers=HTML)
    assert (hostile.status, b"<script" in hostile.raw, b"&lt;script&gt;" in hostile.raw) == (400, False, True)


async def test_what_is_kept_nowhere(house: House, phones: FakeSessions) -> None:
    """Every answer of these paths, refusals too, forbids caching, and that the address is told to another site."""
    _, token = await link_of(house)
    answers = [await house.call("POST", "/api/pair-link")]
    for method, path in OPENED_BY_LINK:
        json = {"number": PHONE} if method == "POST" else None
        answers.append(await house.call(method, f"{path}?token={token}", key=None, json=json))
        answers.append(await house.call(method, path, key=None))
        answers.append(await house.call(method, f"{path}?token=pl_x", key=None))
    assert {answer.status for answer in answers} == {200, 201, 401}
    kept = {(a.headers.get("Cache-Control"), a.headers.get("Referrer-Policy")) for a in answers}
    assert kept == {("no-store", "no-referrer")}


async def test_pairing_leaves_no_trace_in_the_log(
    house: House, phones: FakeSessions, caplog: pytest.LogCaptureFixture
) -> None:
    """QR texts, pairing codes and tokens stand in no log line, whatever the level; the change of state does."""
    caplog.set_level(logging.DEBUG)
    _, token = await link_of(house)
    await house.call("GET", f"/api/qr?token={token}", key=None)
    await house.call("POST", f"/api/pair-code?token={token}", key=None, json={"number": PHONE})
    await house.call("GET", f"/api/{token}", key=None)
    await house.call("GET", f"/api/status?token={token}")
    await phones.connects(ALPHA)
    await state_is(house, "connected")
    assert "alpha is connected" in caplog.text
    assert "/api/pl_…" in caplog.text
    for secret in ("made-up-for-a-test", "ABCD", token, token[3:]):
        assert secret not in caplog.text


async def test_a_process_that_dies(house: House) -> None:
    """A session that nobody holds any more is told as disconnected, whatever its row says; a pairing as unpaired,
    without its code."""
    async with fake_sessions(house.database_url) as phones:
        await phones.connects(ALPHA)
        await phones.pairs(BETA)
        await state_is(house, "connected")
        await state_is(house, "pairing", BETA)
    async with asyncio.timeout(60):
        while house.gateway.sessions.status(ALPHA).state == "connected":  # until the server has seen it go
            await house.gateway.sessions.load()
            await asyncio.sleep(0.01)
    mine, theirs = [(await house.call("GET", "/api/status", key=key)).body for key in (ALPHA, BETA)]
    assert (mine["state"], mine["connected"], theirs["state"]) == ("disconnected", False, "unpaired")
    assert "gone" in mine["reason"]
    assert (await house.call("GET", "/api/qr?start=0", key=BETA)).body["qr"] is None


async def test_an_attempt_that_fails_at_once(house: House, phones: FakeSessions) -> None:
    """When pairing ends before there was a code, the caller hears why at once, and not that nobody answered."""

    async def fails(tenant: str, _: str | None = None, **__: Any) -> None:
        await phones.becomes(tenant, "pairing")
        await phones.becomes(tenant, "unpaired", "could not reach WhatsApp")

    phones.pairs = fails  # type: ignore[assignment, method-assign]
    answer = await house.call("GET", "/api/qr")
    assert (*refusal(answer), answer.body["detail"]) == (409, "pairing_ended", "could not reach WhatsApp")


async def test_another_code_for_another_number(house: House, phones: FakeSessions) -> None:
    """While a code is shown, the next number gets one of its own, never the first one's."""
    first = await house.call("POST", "/api/pair-code", json={"number": PHONE})

    async def later(tenant: str, _: str | None = None, **__: Any) -> None:
        asyncio.get_running_loop().call_later(
            0.2, lambda: tasks.append(asyncio.ensure_future(pairs(tenant, "WXYZ-2345")))
        )

    tasks: list[asyncio.Future[Any]] = []
    pairs, phones.pairs = phones.pairs, later  # type: ignore[assignment, method-assign]
    second = await house.call("POST", "/api/pair-code", json={"number": "6281200000002"})
    await asyncio.gather(*tasks)
    assert (first.body["code"], second.body["code"]) == ("ABCD-EFGH", "WXYZ-2345")
    assert [command.arguments["number"] for command in phones.asked] == [PHONE, "6281200000002"]


async def test_the_same_number_again(house: House, phones: FakeSessions) -> None:
    """Who asks once more sees the code that is being typed already; only when its time is over there is another."""
    first, second = [await house.call("POST", "/api/pair-code", json={"number": n}) for n in (PHONE, f"+{PHONE}")]
    assert (first.status, first.body) == (200, second.body)
    assert len(phones.asked) == 1
    await phones.pairs(ALPHA, "ABCDEFGH", seconds=-1)
    await house.gateway.sessions.load()

    async def another(tenant: str, _: str | None = None, **__: Any) -> None:
        await shows(tenant, "WXYZ2345")

    shows, phones.pairs = phones.pairs, another  # type: ignore[assignment, method-assign]
    third = await house.call("POST", "/api/pair-code", json={"number": PHONE})
    assert (third.body["code"], len(phones.asked)) == ("WXYZ-2345", 2)


async def test_whether_it_is_a_sandbox(house: House, phones: FakeSessions) -> None:
    """Without a phone it is what the gateway speaks to that counts, and with one what the phone was linked with."""
    await phones.connects(ALPHA)
    await phones.pairs(BETA)
    for attached in (True, False):
        sessions = remote.RemoteSessions(phones.store, Clock(), lambda *_: None, sandbox=attached)
        await sessions.load()
        told = [sessions.status(tenant).sandbox for tenant in (ALPHA, BETA, "nobody")]
        assert told == [True, attached, attached]


async def test_two_numbers_at_once(house: House, phones: FakeSessions) -> None:
    """Each of two people who ask at the same moment, for different numbers, gets the code of his own number."""
    codes = {PHONE: "AAAA-1111", "6281200000002": "BBBB-2222"}

    async def pairs(tenant: str, _: str | None = None, **__: Any) -> None:
        await shows(tenant, codes[phones.asked[-1].arguments["number"]])

    shows, phones.pairs = phones.pairs, pairs  # type: ignore[assignment, method-assign]
    asked = [house.call("POST", "/api/pair-code", json={"number": number}) for number in codes]
    answers = await asyncio.gather(*asked)
    assert [answer.body["code"] for answer in answers] == list(codes.values())


async def test_just_linked(house: House, phones: FakeSessions) -> None:
    """Between the process that linked the phone and the one that opens the session nobody is told of a failure."""
    await phones.connects(ALPHA)
    await phones.becomes(ALPHA, "connecting", "linked; connecting")
    await phones.store.release(phones.process, [ALPHA], None)
    await house.gateway.sessions.load()
    told = (await house.call("GET", "/api/status")).body
    assert (told["state"], told["reason"]) == ("connecting", "linked; connecting")


async def test_a_row_that_is_gone(house: House, phones: FakeSessions) -> None:
    """A session whose row was deleted is forgotten here too: the tenant may be linked again."""
    await phones.connects(ALPHA)
    await state_is(house, "connected")
    house.rows("DELETE FROM sessions")
    assert (await state_is(house, "unpaired"))["phone"] is None
    assert (await house.call("GET", "/api/qr")).status == 200


async def test_what_is_over_is_deleted(house: House, phones: FakeSessions) -> None:
    """Neither links nor calls pile up: each new one takes those away whose time is over, and no others."""
    _, old = await link_of(house)
    await link_of(house)
    house.rows("UPDATE pair_links SET expires_at = now() - interval '1 second' WHERE digest = %s", (digest(old),))
    await link_of(house, BETA)
    assert house.rows("SELECT count(*) FROM pair_links") == [(2,)]
    await house.call("GET", "/api/qr")
    await house.call("GET", "/api/qr", key=BETA)
    house.rows("UPDATE commands SET deadline = now() - interval '2 hours' WHERE tenant_id = %s", (ALPHA,))
    await phones.connects(ALPHA)
    await state_is(house, "connected")
    await house.call("POST", "/api/reconnect")
    assert house.rows("SELECT tenant_id, kind FROM commands ORDER BY id") == [(BETA, "pair"), (ALPHA, "reconnect")]


async def test_a_link_does_not_outlive_its_tenant(house: House) -> None:
    """Whoever gets the id of a tenant that was removed is not linked by the one before."""
    _, token = await link_of(house)
    await house.gateway.store.remove_tenant(ALPHA)
    await house.add_tenant(ALPHA)
    answer = await house.call("GET", f"/api/qr?start=0&token={token}", key=None)
    assert refusal(answer) == (401, "link_expired")
