"""Whatever went wrong, in one shape: RFC 9457, application/problem+json.

{"type", "title", "status", "detail", "code"} and, where they apply, "field", "retry_after" (whole seconds) and what
the refusal itself carries ("quota", "state", …).
"""

from __future__ import annotations

import dataclasses
import logging
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage

from core.errors import BadRequest, OverLimit, PluginFailed, Refused, TooLarge, Unauthorized, Unavailable
from core.sessions.remote import NoSessionProcess

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"

LATER = 60.0
"""Seconds after which to come back when a 429 does not say."""

SOON = 2.0
"""Seconds after which to come back when a plugin failed."""

_LONGEST = 366 * 86_400

_HTTP_CODES = {
    404: ("not_found", "there is nothing at this path"),
    405: ("method_not_allowed", "this path does not know that method; the header Allow names those it does"),
    408: ("request_timeout", "the body did not come in within 30 seconds"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong. `more` are further members of the body; `retry_after` is in seconds."""

    status: int
    code: str
    title: str
    detail: str
    field: str | None = None
    retry_after: float | None = None
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


def answer_to(error: Exception) -> web.Response:
    """The answer to a request that ended in `error`; what nobody foresaw is logged and told as 500 without a word
    about its inside."""
    return respond(problem_of(error))


def problem_of(error: Exception) -> Problem:
    """What is told of an error. What nobody foresaw is logged, and told without a word about its inside."""
    match error:
        case Refused():
            return _refused(error)
        case web.HTTPRequestEntityTooLarge():
            return _refused(TooLarge("body_too_large", "a body has at most 2 MiB"))
        case web.HTTPException():
            return _http(error)
        case web.RequestPayloadError() | BadHttpMessage():
            return _refused(BadRequest("body_unreadable", "the body is cut off, or not encoded as its headers say"))
        case PluginFailed() | Unavailable():
            return _unavailable(error)
    log.error("unexpected: %r", error, exc_info=error, extra={"action": "http.internal_error"})
    detail = "something unexpected went wrong here; the gateway's log tells what"
    return Problem(500, "internal_error", "Internal error", detail)


def _unavailable(error: PluginFailed | Unavailable) -> Problem:
    title = "Temporarily unavailable"
    if isinstance(error, NoSessionProcess):
        return Problem(503, "no_session_process", title, str(error), retry_after=error.retry_after)
    if isinstance(error, Unavailable):
        log.warning("503: %s", error, extra={"action": "http.unavailable"})
        detail = "the database cannot be reached at the moment; try again"
        return Problem(503, "unavailable", title, detail, retry_after=error.retry_after)
    log.error("%s; the request is refused", error, exc_info=error.__cause__ or error, extra=error.told)
    detail = "a plugin failed, so that policy is not known; nothing was stored; try again later"
    return Problem(503, "plugin_failed", title, detail, retry_after=SOON)


def respond(problem: Problem) -> web.Response:
    """The problem as an answer."""
    headers = {"Content-Type": CONTENT_TYPE, **problem.headers}
    body: dict[str, Any] = {
        "type": f"urn:gapura:{quote(problem.code, safe='')}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
    }
    if problem.field is not None:
        body["field"] = problem.field
    if problem.retry_after is not None:
        body["retry_after"] = seconds = _whole(problem.retry_after)
        headers["Retry-After"] = str(seconds)
    return web.Response(status=problem.status, body=_encoded({**problem.more, **body}), headers=headers)


def _refused(error: Refused) -> Problem:
    retry_after = error.retry_after
    if retry_after is None and isinstance(error, OverLimit):
        retry_after = LATER
    headers = {"WWW-Authenticate": 'Bearer realm="gapura"'} if isinstance(error, Unauthorized) else {}
    return Problem(error.status, error.code, error.title, error.detail, error.field, retry_after, error.extra, headers)


def _http(error: web.HTTPException) -> Problem:
    title = HTTPStatus(error.status).phrase
    code, detail = _HTTP_CODES.get(error.status, (title.lower().replace(" ", "_"), title))
    kept = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
    return Problem(error.status, code, title, detail, headers=kept)


def _whole(seconds: float) -> int:
    """Rounded up, so that who comes back then is not early; a plugin may say what it likes."""
    if math.isnan(seconds):
        return int(LATER)
    return math.ceil(min(max(seconds, 1.0), _LONGEST))


def _encoded(body: dict[str, Any]) -> bytes:
    """As JSON; what a plugin put into its refusal must not keep the refusal from going out."""
    try:
        return msgspec.json.encode(body, enc_hook=repr)
    except (UnicodeEncodeError, RecursionError, ValueError, TypeError):
        kept = {name: body[name] for name in ("status", "retry_after") if name in body}
        plain = {"type": "urn:gapura:refused", "title": "Refused", "detail": "refused", "code": "refused"}
        return msgspec.json.encode({**plain, **kept})
