"""Who may ask, and how every error is told: JSON {"error": code, "detail": sentence}.

The port is open to every program of this machine, a browser among them. A page of somewhere else must not reach it, not
under its own origin and not under a name of its own that resolves to 127.0.0.1.
"""

from __future__ import annotations

import logging
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from sandbox.control.answers import answer
from sandbox.control.refusals import Refusal
from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

LOOPBACK = re.compile(r"(127(\.\d{1,3}){3}|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@web.middleware
async def guard(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Refuse strangers; turn errors into answers."""
    try:
        _check_host(request)
        _check_origin(request)
        response = await handler(request)
    except Exception as error:  # noqa: BLE001 - whatever it is, the answer is JSON
        response = _told(error)
    response.headers.update(_HEADERS)
    return response


def _check_host(request: web.Request) -> None:
    if not LOOPBACK.fullmatch(request.headers.get("Host", "")):
        raise Refusal(403, "host_not_loopback", "ask for 127.0.0.1 or localhost; other names are not served here")


def _check_origin(request: web.Request) -> None:
    origin = request.headers.get("Origin")
    if origin is not None and origin.lower() != f"http://{request.headers['Host']}".lower():
        raise Refusal(403, "foreign_origin", "pages of other origins may not use the sandbox")


def _told(error: Exception) -> web.StreamResponse:
    match error:
        case Refusal():
            return answer({"error": error.error, "detail": error.detail}, error.status)
        case SandboxError():
            return answer({"error": _code(error), "detail": str(error)}, 404 if _is_unknown(error) else 409)
        case web.HTTPException() if error.status < 400:
            return error
        case web.HTTPException():
            return _http(error)
    log.error("unexpected: %r", error, exc_info=error, extra={"action": "sandbox.internal_error"})
    return answer({"error": "internal_error", "detail": "something unexpected went wrong; the log tells what"}, 500)


def _http(error: web.HTTPException) -> web.Response:
    code = HTTPStatus(error.status).phrase.lower().replace(" ", "_")
    detail = {
        404: "there is nothing at this path; docs/sandbox.md lists what there is",
        405: "this path does not know that method; the header Allow names those it does",
        413: "a body has at most 1 MiB",
    }.get(error.status, error.reason)
    response = answer({"error": code, "detail": detail}, error.status)
    if allow := error.headers.get("Allow"):
        response.headers["Allow"] = allow
    return response


def _is_unknown(error: SandboxError) -> bool:
    return type(error).__name__.startswith("Unknown")


def _code(error: SandboxError) -> str:
    """`UnknownQr` is unknown_qr."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).lower()
