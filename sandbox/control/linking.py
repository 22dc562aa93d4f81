"""Routes that link a device: what a phone's camera and its keyboard do; and where a session process attaches."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Annotated

import aiohttp
import msgspec
from aiohttp import web
from yarl import URL

from sandbox.control.answers import answer
from sandbox.control.refusals import Refusal
from sandbox.control.requests import body, digits

if TYPE_CHECKING:
    from sandbox import Sandbox

Name = Annotated[str, msgspec.Meta(max_length=100)]

_TIMEOUT = aiohttp.ClientTimeout(total=10)
_LARGEST = 1 << 16


class Scan(msgspec.Struct, forbid_unknown_fields=True):
    """POST /scan: the QR code's text, or the URL of what shows it."""

    number: str
    qr: str | None = None
    url: str | None = None
    name: Name = ""


class PairCode(msgspec.Struct, forbid_unknown_fields=True):
    """POST /pair-code."""

    number: str
    code: str
    name: Name = ""


class Shown(msgspec.Struct):
    """What a gateway's GET /api/qr answers, as far as it is needed here."""

    qr: str | None = None


def routes(sandbox: Sandbox) -> list[web.RouteDef]:
    """The routes, for this sandbox."""
    room = Linking(sandbox)
    return [
        web.get("/attach", room.attach),
        web.post("/scan", room.scan),
        web.post("/pair-code", room.pair_code),
        web.get("/unhandled", room.unhandled),
    ]


class Linking:
    """The handlers."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def attach(self, _: web.Request) -> web.Response:
        """What a session process needs to take the sandbox for WhatsApp."""
        sandbox = self._sandbox
        return answer({"proxy": sandbox.proxy_url, "ca": sandbox.ca_pem, "root_key": sandbox.root_key.hex()})

    async def scan(self, request: web.Request) -> web.Response:
        """The number of the device that shows this QR code, linked to the phone."""
        asked = await body(request, Scan)
        number = digits(asked.number)
        if (asked.qr is None) == (asked.url is None):
            raise Refusal(422, "field_not_valid", "qr or url: give one of them, the code's text or where it is shown")
        qr = asked.qr if asked.qr is not None else await shown_at(asked.url or "")
        return answer({"device": await self._sandbox.scan(qr.strip(), number, asked.name)})

    async def pair_code(self, request: web.Request) -> web.Response:
        """The number of the device that shows this pairing code, linked to the phone."""
        asked = await body(request, PairCode)
        number = digits(asked.number)
        code = "".join(filter(str.isalnum, asked.code)).upper()
        if len(code) != 8:
            raise Refusal(422, "field_not_valid", "code: 8 letters and digits, as ABCD-1234")
        return answer({"device": await self._sandbox.enter_code(code, number, asked.name)})

    async def unhandled(self, _: web.Request) -> web.Response:
        """What the sandbox did not understand, and where it failed: both empty when all is well."""
        return answer({"unhandled": list(self._sandbox.unhandled), "errors": list(self._sandbox.errors)})


async def shown_at(url: str) -> str:
    """The text of the QR code that a program of this machine shows as JSON {"qr": …}.

    Raises Refusal 422 when the URL is not of this machine or answers something else, 409 when it shows no code now."""
    where = _json_of(_loopback(url))
    told = where.with_query(None)  # the query may hold a token
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as http,
            http.get(where, headers={"Accept": "application/json"}, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise Refusal(422, "qr_not_fetched", f"{told} answered {response.status}")
            shown = msgspec.json.decode(await response.content.read(_LARGEST), type=Shown)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Refusal(422, "qr_not_fetched", f"{told} does not answer: {type(error).__name__}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refusal(422, "qr_not_fetched", f'{told} did not answer JSON with a field "qr"') from None
    if not shown.qr:
        raise Refusal(409, "no_qr_shown", f"{told} shows no QR code now; try again in a moment")
    return shown.qr


def _loopback(text: str) -> URL:
    refusal = Refusal(422, "url_not_loopback", "url: http://127.0.0.1:PORT/…, a page of a gateway on this machine")
    try:
        url = URL(text)
        port = url.port
    except ValueError:
        raise refusal from None
    if url.scheme not in ("http", "https") or not _is_loopback(url.host) or url.user or port is None:
        raise refusal
    return url


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _json_of(url: URL) -> URL:
    """The JSON beside a gateway's QR page or picture: …/qr for …/qr/page and …/qr/image."""
    if url.path.endswith(("/qr/page", "/qr/image")):
        return url.with_path(url.path.rpartition("/")[0], keep_query=True)
    return url
