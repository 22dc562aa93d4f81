"""aiohttp's server, but for two things. When bytes are no HTTP, the answer is a problem like every other, and the log
line holds nothing of those bytes, which may be somebody's key or message. And a request line that names a route letter
by letter needs no router."""

from __future__ import annotations

import gc
import logging
from typing import TYPE_CHECKING, Any

from aiohttp import web

from core.web.problems import Problem, respond

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Answering = Callable[[Any], Awaitable[web.StreamResponse]]

STRAIGHT = web.AppKey("straight", dict[tuple[str, str], "Answering"])
"""Of an application: (method, target) -> what answers exactly this, all that a middleware would do included. It
finds no `match_info` in the request."""

LINGER = 2.0
"""Seconds for which the rest of a body is still taken in when its answer is out, so that its sender can read that."""


class _Protocol(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what could not be read as a request, or failed outside the application."""
        if status >= 500:
            log.error("failed outside the application", exc_info=exc, extra={"action": "http.internal_error"})
        else:
            what = type(exc).__name__ if exc else "no HTTP"
            log.info("%d to %s: %s", status, request.remote, what, extra={"action": "http.unreadable"})
        if request.writer.output_size > 0:
            raise ConnectionError("an answer had been begun; this connection cannot be used any more")
        response = respond(_problem(status))
        response.force_close()
        return response


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs the application of `make_app`."""

    def __init__(self, app: web.Application, *, shutdown_timeout: float) -> None:
        """`shutdown_timeout`: seconds that requests under way have to end. aiohttp's access log is off: it would hold
        the query; the gate writes one line per request."""
        super().__init__(app, access_log=None, lingering_time=LINGER, shutdown_timeout=shutdown_timeout)

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server  # aiohttp offers no place to name the protocol
        server.request_handler = _straight(self.app[STRAIGHT], server.request_handler)
        return server


def _straight(ways: dict[tuple[str, str], Answering], routed: Answering) -> Answering:
    """`routed`, but for requests to which one of `ways` leads: aiohttp's router and its middlewares take a
    twentieth of the time of a whole request. Whatever is not plain (a query, an expectation) is left to them."""

    def answer(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        way = ways.get((request.method, request.raw_path))
        return routed(request) if way is None or "Expect" in request.headers else way(request)

    return answer


def _problem(status: int) -> Problem:
    if status >= 500:
        return Problem(status, "internal_error", "Internal error", "something unexpected went wrong here")
    return Problem(status, "bad_http", "Bad request", "this is not a request that HTTP/1.1 allows")


def spare_the_collector() -> None:
    """What was made so far stays for good and need not be looked at again; what a request makes is freed without the
    collector, which by default would take a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
