"""One event, posted to one endpoint.

The body is JSON: {"id", "type", "at", "tenant", "seq", "data"}; `id` is the webhook-id, the same at every try.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
import msgspec
from standardwebhooks import Webhook

from core.outbound_addresses import AddressRefused
from core.paths.callbacks.backoff import retry_after
from core.version import VERSION

if TYPE_CHECKING:
    from core.callback_settings import Endpoint
    from core.clock import Clock
    from core.event_rows import Event
    from core.outbound_addresses import AddressGuard

log = logging.getLogger(__name__)

PATIENCE = 15.0
"""Seconds from looking up the name to the end of the answer."""

MOST_READ, MOST_KEPT = 64 * 1024, 300
"""Bytes of an answer that are read at most; characters of it that are kept when it is no success."""

_GONE, _LATER = 410, (429, 503)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a post. `accepted`: 2xx; `final`: it shall not be tried again; `retry_after`: seconds that the
    receiver asked for. `error` is for the tenant; `detail`, if there is any, for the operator's log only."""

    accepted: bool
    status: int | None = None
    error: str | None = None
    retry_after: float | None = None
    final: bool = False
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """An event on its way to an endpoint. `id`: the webhook-id."""

    id: str
    tenant: str
    event: Event

    def body(self) -> bytes:
        """The same at every try, as an event tells what was so when it happened, and no change comes to that later."""
        event = self.event
        told = {"id": self.id, "type": event.type, "at": event.at, "tenant": self.tenant, "seq": event.seq}
        return msgspec.json.encode({**told, "data": event.data})


def open_session(guard: AddressGuard) -> aiohttp.ClientSession:
    """For posts: no cookies, no proxies from the environment, no decompression, and only to addresses that `guard`
    lets pass. To be closed by who opens it."""
    return aiohttp.ClientSession(
        connector=guard.connector(),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=PATIENCE),
        auto_decompress=False,
        trust_env=False,
    )


async def post(session: aiohttp.ClientSession, endpoint: Endpoint, letter: Letter, clock: Clock) -> Answer:
    """The endpoint's answer; whatever goes wrong is one too."""
    body = letter.body()
    headers = headers_of(endpoint, letter.id, body, clock)
    try:
        async with session.post(endpoint.url, data=body, headers=headers, allow_redirects=False) as response:
            text = await _beginning(response)
            return _understood(response, text, clock)
    except TimeoutError:
        return Answer(accepted=False, error=f"no answer within {PATIENCE:g} seconds")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Answer(accepted=False, error=_told(error), detail=_detail(error))
    except Exception as error:
        words, extra = (
            "a callback of %s cannot be posted",
            {"action": "callback.internal_error", "tenant": letter.tenant},
        )
        log.exception(words, letter.tenant, extra=extra)
        return Answer(accepted=False, error=f"cannot be posted: {type(error).__name__}")


def headers_of(endpoint: Endpoint, delivery: str, body: bytes, clock: Clock) -> dict[str, str]:
    """The endpoint's own headers and those of the Standard Webhooks scheme."""
    now = clock.now()
    headers = {
        **endpoint.headers,
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": f"Gapura/{VERSION}",
        "webhook-id": delivery,
        "webhook-timestamp": str(int(now.timestamp())),
    }
    if endpoint.secret is not None:
        headers["webhook-signature"] = Webhook(endpoint.secret).sign(delivery, now, body.decode())
    return headers


async def _beginning(response: aiohttp.ClientResponse) -> str:
    """What the receiver said, as far as it is read. The status has been told: what goes wrong after it, or takes
    too long, changes nothing, but ends the connection."""
    pieces, left = [], MOST_READ
    try:
        while left > 0 and (piece := await response.content.read(left)):
            pieces.append(piece)
            left -= len(piece)
    except (TimeoutError, aiohttp.ClientError, OSError):
        left = 0
    if left <= 0:
        response.close()
    return b"".join(pieces).decode("utf-8", "replace")


def _understood(response: aiohttp.ClientResponse, text: str, clock: Clock) -> Answer:
    status = response.status
    if 200 <= status < 300:
        return Answer(accepted=True, status=status)
    said = _plain(text) or "without a word"
    if 300 <= status < 400:
        said = "redirects are not followed; write the URL that it leads to"
    later = retry_after(response.headers.get("Retry-After"), clock.now()) if status in _LATER else None
    return Answer(accepted=False, status=status, error=said, retry_after=later, final=status == _GONE)


def _told(error: Exception) -> str:
    """In a few words, and without the URL, whose path may be a secret, and the address, which may be of the operator's
    own network."""
    if isinstance(_cause(error), AddressRefused):
        return str(_cause(error))
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return _plain(f"the host's name cannot be looked up: {error.os_error.strerror or 'no such name'}")
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientSSLError):
        number = error.os_error.errno
        return f"cannot connect: {os.strerror(number) if number else 'no address answers'}"
    if isinstance(error, aiohttp.ClientResponseError):
        return _plain(f"no HTTP that can be read: {error.message}")
    if isinstance(error, aiohttp.InvalidURL):
        return "the URL cannot be used"
    return _plain(f"{type(error).__name__}: {error}")


def _detail(error: Exception) -> str | None:
    """The address, if `_told` keeps silent about one."""
    inner = _cause(error)
    if isinstance(inner, AddressRefused):
        return f"its address is {inner.address}"
    return _plain(str(inner)) if isinstance(error, aiohttp.ClientConnectorError) else None


def _cause(error: Exception) -> Exception:
    return error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error


def _plain(text: str) -> str:
    return _CONTROLS.sub(" ", text).strip()[:MOST_KEPT]
