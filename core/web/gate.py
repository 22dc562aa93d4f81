"""Where every request comes in and every answer goes out: who asks, what went wrong, one log line."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from aiohttp import web

from core.errors import Forbidden
from core.web import html
from core.web.authentication import CALLER, LINK, authenticate, by_link, check_url, confirm
from core.web.problems import answer_to, problem_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from core.services import Services

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)

PROTECTED = "/api/"
"""Below this, nothing is told to strangers, not even which paths there are."""

_KEY = re.compile(r"(sk_|pl_)[\w-]+")

_SECRET = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


@dataclass(frozen=True, slots=True)
class Rule:
    """What a caller needs on a route: a scope (None: it is public). `asks_table`: the key is held against the table as
    it is now, before anything is done. `secret`: what is answered may be kept nowhere. `link`: a pairing link's token
    will do in place of a key. `page`: people look at it."""

    scope: Literal["send", "read", "manage"] | None
    asks_table: bool = True
    secret: bool = False
    link: bool = False
    page: bool = False


class Gate:
    """What every request passes, whoever found its handler."""

    def __init__(self, services: Services, rules: Mapping[web.AbstractRoute, Rule]) -> None:
        self._tenants, self._sessions, self._clock = services.tenants, services.sessions, services.clock
        self._rules = rules

    @web.middleware
    async def pass_through(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """For a middleware: the answer to what aiohttp's router has found, or has not found."""
        return await self.answer(self._rules.get(request.match_info.route), handler, request)

    async def answer(self, rule: Rule | None, handler: Handler, request: web.Request) -> web.StreamResponse:
        """The handler's answer, or the problem that kept it from answering. `rule`: the route's, if there is one."""
        started = self._clock.monotonic()
        try:
            await self._let_in(request, rule)
            response = await handler(request)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong, the caller hears it in one shape
            is_seen = rule is not None and rule.page and html.wanted(request)
            response = html.sorry(problem_of(error)) if is_seen else answer_to(error)
        if rule is not None and rule.secret:
            response.headers.update(_SECRET)
        level = logging.DEBUG if response.status < 400 else logging.INFO
        if log.isEnabledFor(level):
            self._note(level, request, response.status, (self._clock.monotonic() - started) * 1000)
        return response

    async def _let_in(self, request: web.Request, rule: Rule | None) -> None:
        """Return for a caller who may do this; authentication comes before any other look at the request."""
        if (rule.scope is None) if rule else not request.path.startswith(PROTECTED):
            return
        opens = rule is not None and rule.link
        check_url(request, link=opens)
        if opens and LINK in request.query:
            request[CALLER] = await by_link(self._sessions, request)
            return
        principal = await authenticate(self._tenants, request)
        request[CALLER] = principal
        if rule is None or rule.asks_table:
            await confirm(self._tenants, principal)
        if rule is not None and rule.scope not in principal.scopes:
            raise Forbidden("scope_missing", f"this key may not {rule.scope}; its scopes do not include it")

    def _note(self, level: int, request: web.Request, status: int, milliseconds: float) -> None:
        """One line; never a query, a header or a body. What went well is told at DEBUG: the message's own line follows
        when it is sent, and a second one would cost a tenth of the time."""
        path, caller = request.rel_url.raw_path, request.get(CALLER)
        if "sk_" in path or "pl_" in path:
            path = _KEY.sub(r"\1…", path)
        tenant = caller.tenant if caller else None
        extra = {"action": "http.request", "method": request.method, "path": path, "status": status}
        extra |= {"ms": round(milliseconds, 1), "tenant": tenant}
        words = (request.method, path, status, milliseconds, tenant or "-")
        log.log(level, "%s %s %d in %.1f ms for %s", *words, extra=extra)


async def accept_expectation(request: web.Request) -> None:
    """`Expect: 100-continue` is answered; anything else expected is ignored, as RFC 9110 allows."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # What was written so far does not belong to the answer.
        request.writer.output_size = 0
