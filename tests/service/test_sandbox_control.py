"""The sandbox's control API: two simulated phones talk through it, devices get into trouble, strangers are refused."""

from __future__ import annotations

import asyncio
import io
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from sandbox import Sandbox
from sandbox.control import control_app, serve_control
from sandbox.control.server import PAGE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

BUDI, CAROL, TOKO = "628222222222", "628333333333", "628111111111"
BROKEN = ((b"{", 400), (b'{"number": "\xff"}', 400), (b'{"number": "\\ud800"}', 400), (b" " * ((1 << 20) + 1), 413))
DOCS = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text("utf-8")


class Noting(Sandbox):
    """A sandbox whose devices are made up: of TOKO's, 1 is connected and 2 is not. `done`: what it was told to do."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, ...]] = []

    def devices(self, number: str) -> list[int]:
        return [1, 2] if number == TOKO else super().devices(number)

    def is_online(self, number: str, device: int) -> bool:
        return device == 1

    def waiting(self, number: str, device: int) -> int:
        return device

    async def scan(self, qr: str, number: str, name: str = "") -> int:
        if not qr.startswith("shown"):
            return await super().scan(qr, number, name)
        self.done.append(("scan", qr, number, name))
        return 3

    async def enter_code(self, code: str, number: str, name: str = "") -> int:
        if not code.startswith("SHOWN"):
            return await super().enter_code(code, number, name)
        self.done.append(("enter_code", code, number, name))
        return 4

    async def unlink(self, number: str, device: int) -> None:
        self.done.append(("unlink", number, device))

    async def drop(self, number: str, device: int) -> None:
        self.done.append(("drop", number, device))

    async def replace(self, number: str, device: int) -> None:
        self.done.append(("replace", number, device))

    def refuse_logins(
        self, number: str, reason: int, times: int | None = None, *, code: int = 101, expire: int = 3600
    ) -> None:
        self.done.append(("refuse_logins", number, reason, times, code, expire))

    def refuse_sends(self, number: str, code: int, times: int | None = None) -> None:
        self.done.append(("refuse_sends", number, code, times))

    def hold_acks(self, number: str, hold: bool) -> None:
        self.done.append(("hold_acks", number, hold))


@dataclass
class Control:
    """A sandbox and its control API, as a program uses it."""

    sandbox: Sandbox
    url: str
    http: aiohttp.ClientSession
    done: list[tuple[Any, ...]] = field(default_factory=list)

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        """Status and JSON."""
        async with self.http.request(method, self.url + path, json=body, **options) as response:
            return response.status, await response.json()

    async def get(self, path: str) -> Any:
        status, said = await self.ask("GET", path)
        assert status == 200, said
        return said

    async def post(self, path: str, body: Any) -> Any:
        status, said = await self.ask("POST", path, body)
        assert status in (200, 201), said
        return said

    async def lines(self, number: str, other: str) -> list[dict[str, Any]]:
        """What a phone shows of a chat."""
        chats = (await self.get(f"/phones/{number}"))["chats"]
        return next((chat["lines"] for chat in chats if chat["number"] == other), [])

    async def until(self, number: str, seen: Callable[[Any], Any]) -> Any:
        """Follow a phone by long polls until `seen` says yes to it; fails after a minute."""
        async with asyncio.timeout(60):
            view = await self.get(f"/phones/{number}")
            while not seen(view):
                view = await self.get(f"/phones/{number}/changes?version={view['version']}&wait=30")
        return view


@asynccontextmanager
async def controlled(sandbox: Sandbox) -> AsyncIterator[Control]:
    async with sandbox, serve_control(sandbox, 0) as url, aiohttp.ClientSession() as http:
        yield Control(sandbox, url, http)


@pytest.fixture
async def control(loop: asyncio.AbstractEventLoop) -> AsyncIterator[Control]:
    """Budi's and Carol's phones, and an account that never paired. Nothing goes wrong inside during a test."""
    async with controlled(Sandbox()) as control:
        for number, name in ((BUDI, "Budi"), (CAROL, "Carol")):
            await control.post("/phones", {"number": number, "name": name})
        yield control
        assert await control.get("/unhandled") == {"unhandled": [], "errors": []}


@pytest.fixture
async def noting(loop: asyncio.AbstractEventLoop) -> AsyncIterator[Control]:
    """A control API whose sandbox notes what it is told to do."""
    sandbox = Noting()
    async with controlled(sandbox) as control:
        control.done = sandbox.done
        sandbox.phone(BUDI)
        yield control


# Phones


async def test_a_phone_is_made_once(control: Control) -> None:
    """201 the first time, 200 later; a number may be written as people write it."""
    status, made = await control.ask("POST", "/phones", {"number": "+62 811-1111 (111)", "name": "Toko"})
    assert (status, made["number"], made["name"], made["devices"]) == (201, "628111111111", "Toko", [])
    assert (await control.ask("POST", "/phones", {"number": TOKO}))[0] == 200
    assert [phone["number"] for phone in (await control.get("/phones"))["phones"]] == [BUDI, CAROL, TOKO]


async def test_two_phones_talk(control: Control) -> None:
    """A text arrives, its reply quotes it and mentions its writer, and ticks turn from sent to delivered to read."""
    asked = (await control.post(f"/phones/{BUDI}/messages", {"to": CAROL, "text": "Jam berapa? 🌏"}))["id"]
    inbox = await control.get(f"/phones/{CAROL}/inbox?wait=30")
    [message] = inbox["messages"]
    assert (message["id"], message["sender"], message["text"], inbox["next"]) == (asked, BUDI, "Jam berapa? 🌏", 1)
    await control.until(BUDI, lambda view: view["chats"][0]["lines"][0]["status"] == "delivered")
    await control.post(f"/phones/{CAROL}/read", {"id": asked})
    await control.until(BUDI, lambda view: view["chats"][0]["lines"][0]["status"] == "read")
    answer = {"to": BUDI, "text": f"Jam 8 @{BUDI}", "reply_to": asked, "mentions": [BUDI]}
    await control.post(f"/phones/{CAROL}/messages", answer)
    [got] = (await control.get(f"/phones/{BUDI}/inbox?after=0&wait=30"))["messages"]
    assert (got["reply_to"], got["quoted_text"], got["mentions"]) == (asked, "Jam berapa? 🌏", [BUDI])
    assert [line["from_me"] for line in await control.lines(BUDI, CAROL)] == [True, False]


async def test_the_inbox_goes_on_where_it_was(control: Control) -> None:
    """`after` skips what was taken; with nothing new the answer is empty and `next` stays."""
    for text in ("one", "two"):
        await control.post(f"/phones/{BUDI}/messages", {"to": CAROL, "text": text})
    await control.until(CAROL, lambda view: view["chats"] and len(view["chats"][0]["lines"]) == 2)
    second = await control.get(f"/phones/{CAROL}/inbox?after=1")
    assert ([message["text"] for message in second["messages"]], second["next"]) == (["two"], 2)
    assert await control.get(f"/phones/{CAROL}/inbox?after=2") == {"messages": [], "next": 2}
    assert await control.get(f"/phones/{CAROL}/inbox?after=7&wait=0.01") == {"messages": [], "next": 7}


async def test_a_long_poll_waits_for_a_change(control: Control) -> None:
    """It is silent while nothing happens, answers when something does, and at once when it is behind."""
    version = (await control.get(f"/phones/{CAROL}"))["version"]
    assert (await control.get(f"/phones/{CAROL}/changes?version={version}&wait=0.01"))["version"] == version
    waiting = asyncio.create_task(control.get(f"/phones/{CAROL}/changes?version={version}&wait=60"))
    await control.post(f"/phones/{BUDI}/messages", {"to": CAROL, "text": "psst"})
    async with asyncio.timeout(50):
        assert (await waiting)["version"] > version
        assert (await control.get(f"/phones/{CAROL}/changes?version={version}&wait=60"))["version"] > version


async def test_a_phone_without_network(control: Control) -> None:
    """What is sent to it stays at one tick, and arrives when it is back."""
    await control.ask("PATCH", f"/phones/{CAROL}", {"online": False})
    await control.post(f"/phones/{BUDI}/messages", {"to": CAROL, "text": "later"})
    assert (await control.get(f"/phones/{CAROL}/inbox?wait=0.2"))["messages"] == []
    assert [line["status"] for line in await control.lines(BUDI, CAROL)] == ["sent"]
    status, phone = await control.ask("PATCH", f"/phones/{CAROL}", {"online": True, "auto_read": True, "name": "C."})
    assert (status, phone["online"], phone["auto_read"], phone["name"]) == (200, True, True, "C.")
    await control.until(BUDI, lambda view: view["chats"][0]["lines"][0]["status"] == "read")


async def test_typing_is_seen_until_it_stops(control: Control) -> None:
    """And a message ends it, as on a phone."""
    await control.post(f"/phones/{BUDI}/messages", {"to": CAROL, "text": "1"})
    for ending in ("typing", "messages"):
        await control.post(f"/phones/{BUDI}/typing", {"to": CAROL})
        await control.until(CAROL, lambda view: view["chats"] and view["chats"][0]["typing"])
        await control.post(
            f"/phones/{BUDI}/{ending}", {"to": CAROL} | ({"on": False}, {"text": "2"})[ending != "typing"]
        )
        await control.until(CAROL, lambda view: not view["chats"][0]["typing"])


# Linking


async def test_where_a_session_process_attaches(control: Control) -> None:
    """The proxy is on loopback; the key is that of every sandbox."""
    said = await control.get("/attach")
    assert said.keys() == {"proxy", "ca", "root_key"}
    assert said["proxy"].startswith("http://127.0.0.1:")
    assert "BEGIN CERTIFICATE" in said["ca"]
    assert bytes.fromhex(said["root_key"]) == Sandbox.root_key


async def test_codes_that_nobody_shows(control: Control) -> None:
    """Their refusals say which kind it was."""
    status, said = await control.ask("POST", "/scan", {"qr": "2@a,b,c,d", "number": TOKO})
    assert (status, said["error"]) == (404, "unknown_qr")
    status, said = await control.ask("POST", "/pair-code", {"code": "ABCD-1234", "number": TOKO})
    assert (status, said["error"]) == (404, "unknown_code")


async def test_what_is_shown_is_linked(noting: Control) -> None:
    """The text of a QR code, or a pairing code in any spelling."""
    assert await noting.post("/scan", {"qr": " shown \n", "number": TOKO, "name": "Toko"}) == {"device": 3}
    assert await noting.post("/pair-code", {"code": "shown-123", "number": f"+{TOKO}"}) == {"device": 4}
    assert noting.done == [("scan", "shown", TOKO, "Toko"), ("enter_code", "SHOWN123", TOKO, "")]


@pytest.mark.parametrize("path", ["/api/qr", "/api/qr/page", "/api/qr/image"])
async def test_a_gateways_page_is_scanned(noting: Control, aiohttp_server: Any, path: str) -> None:
    """The sandbox fetches the JSON beside it, with the token that the page has."""

    async def shows(request: web.Request) -> web.Response:
        return web.json_response({"state": "pairing", "qr": f"shown to {request.query['token']}"})

    gateway = web.Application()
    gateway.router.add_get("/api/qr", shows)
    server = await aiohttp_server(gateway)
    url = str(server.make_url(f"{path}?token=t%2B1"))
    assert await noting.post("/scan", {"url": url, "number": TOKO}) == {"device": 3}
    assert noting.done == [("scan", "shown to t+1", TOKO, "")]


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        (lambda: web.json_response({"qr": None}), 409, "no_qr_shown"),
        (lambda: web.json_response({}), 409, "no_qr_shown"),
        (lambda: web.json_response(["qr"]), 422, "qr_not_fetched"),
        (lambda: web.Response(text="<html>"), 422, "qr_not_fetched"),
        (lambda: web.Response(status=401), 422, "qr_not_fetched"),
        (lambda: web.HTTPFound("http://example.com/"), 422, "qr_not_fetched"),
    ],
)
async def test_what_shows_no_code(
    noting: Control, aiohttp_server: Any, answer: Callable[[], web.Response], status: int, error: str
) -> None:
    """The refusal names the address without its token; a redirect is not followed."""

    async def shows(_: web.Request) -> web.Response:
        return answer()

    gateway = web.Application()
    gateway.router.add_get("/qr", shows)
    url = str((await aiohttp_server(gateway)).make_url("/qr?token=secret"))
    got, said = await noting.ask("POST", "/scan", {"url": url, "number": TOKO})
    assert (got, said["error"], noting.done) == (status, error, [])
    assert "/qr" in said["detail"]
    assert "secret" not in said["detail"]


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.com/qr", "http://10.0.0.1/qr", "file:///etc/passwd", "ftp://127.0.0.1/", "nonsense", ""),
        *(
            "http://127.0.0.1.example.com/",
            "http://127.0.0.1@example.com/",
            "http://127.0.0.1:99999/",
            "http://0.0.0.0/",
        ),
    ],
)
async def test_only_this_machine_is_asked(noting: Control, url: str) -> None:
    """The sandbox fetches from loopback and from nowhere else."""
    status, said = await noting.ask("POST", "/scan", {"url": url, "number": TOKO})
    assert (status, said["error"]) == (422, "url_not_loopback")


# Trouble


async def test_what_happens_to_devices(noting: Control) -> None:
    """To one that is named; else to all that are linked, or connected where it takes a connection."""
    assert await noting.post(f"/accounts/{TOKO}/unlink", {"device": 2}) == {"devices": [2]}
    assert await noting.post(f"/accounts/{TOKO}/unlink", None) == {"devices": [1, 2]}
    assert await noting.post(f"/accounts/{TOKO}/drop", {}) == {"devices": [1]}
    assert await noting.post(f"/accounts/{TOKO}/replace", {}) == {"devices": [1]}
    done = [("unlink", 2), ("unlink", 1), ("unlink", 2), ("drop", 1), ("replace", 1)]
    assert noting.done == [(what, TOKO, device) for what, device in done]
    noting.sandbox.phone(TOKO)
    devices = (await noting.get(f"/phones/{TOKO}"))["phone"]["devices"]
    assert devices == [
        {"device": 1, "online": True, "waiting": 1},
        {"device": 2, "online": False, "waiting": 2},
    ]


async def test_what_is_refused_on_purpose(noting: Control) -> None:
    """Codes and counts reach the sandbox as they were given."""
    await noting.post(f"/accounts/{TOKO}/refuse-logins", {"reason": 401})
    await noting.post(f"/accounts/{TOKO}/refuse-logins", {"reason": 402, "times": 2, "code": 102, "expire": 60})
    await noting.post(f"/accounts/{TOKO}/refuse-sends", {"code": 463, "times": 1})
    await noting.post(f"/accounts/{TOKO}/hold-acks", {"on": True})
    assert noting.done == [
        ("refuse_logins", TOKO, 401, None, 101, 3600),
        ("refuse_logins", TOKO, 402, 2, 102, 60),
        ("refuse_sends", TOKO, 463, 1),
        ("hold_acks", TOKO, True),
    ]


async def test_a_device_that_is_not_there(control: Control) -> None:
    """Nothing happens, and the answer says so."""
    assert (await control.ask("POST", f"/accounts/{BUDI}/unlink", {}))[1]["error"] == "no_device"
    assert (await control.ask("POST", f"/accounts/{BUDI}/drop", {}))[1]["error"] == "no_device"
    assert (await control.ask("POST", f"/accounts/{BUDI}/drop", {"device": 9}))[1]["error"] == "unknown_device"


# Refusals


@pytest.mark.parametrize(
    ("request_", "body", "status", "error"),
    [
        ("GET /phones/628999999999", None, 404, "unknown_phone"),
        ("GET /phones/0812", None, 422, "number_not_valid"),
        (f"GET /phones/{BUDI}/changes?version=x", None, 422, "query_not_valid"),
        (f"GET /phones/{BUDI}/changes?wait=61", None, 422, "query_not_valid"),
        (f"GET /phones/{BUDI}/changes?wait=nan", None, 422, "query_not_valid"),
        (f"GET /phones/{BUDI}/inbox?after=-1", None, 422, "query_not_valid"),
        ("POST /phones", {}, 422, "field_not_valid"),
        ("POST /phones", {"number": 628}, 422, "field_not_valid"),
        ("POST /phones", {"number": TOKO, "nmae": "T"}, 422, "field_not_valid"),
        ("POST /phones", {"number": "hello"}, 422, "number_not_valid"),
        ("POST /phones", [], 422, "field_not_valid"),
        (f"POST /phones/{BUDI}/messages", {"to": CAROL}, 422, "field_not_valid"),
        (f"POST /phones/{BUDI}/messages", {"to": CAROL, "text": ""}, 422, "field_not_valid"),
        (f"POST /phones/{BUDI}/messages", {"to": "x", "text": "x"}, 422, "number_not_valid"),
        (f"POST /phones/{BUDI}/messages", {"to": "628999999999", "text": "x"}, 404, "unknown_number"),
        (f"POST /phones/{BUDI}/messages", {"to": CAROL, "text": "x", "reply_to": "?"}, 404, "unknown_message"),
        (f"POST /phones/{BUDI}/messages", {"to": CAROL, "text": "x", "mentions": ["x"]}, 422, "number_not_valid"),
        (f"POST /phones/{BUDI}/read", {"id": "?"}, 404, "unknown_message"),
        (f"POST /phones/{BUDI}/typing", {"to": "628999999999"}, 404, "unknown_number"),
        (f"PATCH /phones/{BUDI}", {"online": "yes"}, 422, "field_not_valid"),
        ("POST /scan", {"number": TOKO}, 422, "field_not_valid"),
        ("POST /scan", {"number": TOKO, "qr": "x", "url": "x"}, 422, "field_not_valid"),
        ("POST /pair-code", {"number": TOKO, "code": "1234567"}, 422, "field_not_valid"),
        ("POST /accounts/628999999999/unlink", {}, 404, "unknown_number"),
        ("POST /accounts/628999999999/refuse-logins", {"reason": 401}, 404, "unknown_number"),
        (f"POST /accounts/{BUDI}/refuse-logins", {"reason": "401"}, 422, "field_not_valid"),
        (f"POST /accounts/{BUDI}/refuse-sends", {"code": 463, "times": 0}, 422, "field_not_valid"),
        (f"POST /accounts/{BUDI}/hold-acks", {}, 422, "field_not_valid"),
        ("GET /nothing", None, 404, "not_found"),
        ("GET /page/nothing.js", None, 404, "not_found"),
        ("GET /page/..%2Fcontrol%2Fserver.py", None, 404, "not_found"),
        ("DELETE /phones", None, 405, "method_not_allowed"),
    ],
)
async def test_bad_input_is_refused(control: Control, request_: str, body: Any, status: int, error: str) -> None:
    """With a code for programs and a sentence for people."""
    method, path = request_.split()
    got, said = await control.ask(method, path, body)
    assert (got, said["error"]) == (status, error)
    assert said.keys() == {"error", "detail"}
    assert said["detail"]


async def test_what_is_no_json(control: Control) -> None:
    """400, not 500; a body that is too large is 413."""
    for body, status in BROKEN:
        async with control.http.post(f"{control.url}/phones", data=io.BytesIO(body)) as response:
            assert response.status == status
            assert (await response.json()).keys() == {"error", "detail"}


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:3100", "localhost.evil.example", "10.0.0.1:80"]
)
async def test_another_name_for_this_machine(control: Control, host: str) -> None:
    """A page whose name was made to resolve to 127.0.0.1 gets nothing, not even the page."""
    for path in ("/", "/attach", "/page/main.js", "/nothing"):
        status, said = await control.ask("GET", path, headers={"Host": host})
        assert (status, said["error"]) == (403, "host_not_loopback")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1"])
async def test_a_page_of_somewhere_else(control: Control, origin: str) -> None:
    """It cannot make phones write, nor read what they got."""
    body = {"to": CAROL, "text": "spam"}
    status, said = await control.ask("POST", f"/phones/{BUDI}/messages", body, headers={"Origin": origin})
    assert (status, said["error"]) == (403, "foreign_origin")
    assert (await control.ask("GET", "/phones", headers={"Origin": origin}))[0] == 403
    assert (await control.get(f"/phones/{CAROL}"))["chats"] == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:3100", "[::1]:3100", "127.0.0.2:1"])
async def test_its_own_page(control: Control, host: str) -> None:
    """Any name of loopback will do, and the page's own origin may do everything."""
    headers = {"Host": host, "Origin": f"http://{host.lower()}"}
    assert (await control.ask("POST", "/phones", {"number": TOKO}, headers=headers))[0] == 201


# The page and the docs


async def test_the_page_needs_nothing_else(control: Control) -> None:
    """It is served with a policy that lets nothing in from elsewhere, and names no other place."""
    async with control.http.get(f"{control.url}/") as response:
        assert response.status == 200
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]
        linked = re.findall(r'(?:src|href)="(/page/[^"]+)"', await response.text())
    assert len(linked) == 3
    for path in linked:
        async with control.http.get(control.url + path) as response:
            assert response.status == 200
    for file in PAGE.iterdir():
        elsewhere = re.findall(r"https?://(?!127\.0\.0\.1|www\.w3\.org/2000/svg)\S+", file.read_text("utf-8"))
        assert not elsewhere, file


def test_every_route_is_documented() -> None:
    """docs/sandbox.md tells of every route, and of no other; its examples ask for what there is."""
    known = {
        f"{route.method} {route.resource.canonical}"
        for route in control_app(Sandbox()).router.routes()
        if route.resource is not None and route.method != "HEAD" and not route.resource.canonical.startswith("/page")
    }
    assert set(re.findall(r"^\| `((?:GET|POST|PATCH) [^` ?]*)", DOCS, re.M)) == known
    for path in re.findall(r"curl .*?\$SANDBOX([^\s'\"?]*)", DOCS):
        shape = re.sub(r"/\d{5,}", "/{number}", path)
        assert any(route.endswith(f" {shape}") for route in known), path
