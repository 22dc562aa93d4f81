"""GET /healthz and /readyz: for whoever starts, watches and replaces the process. They ask for no key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.web import answers
from core.web.problems import Problem
from core.web.problems import respond as respond_with

if TYPE_CHECKING:
    from aiohttp import web

    from core.services import Services


class Health:
    """Whether the process lives, and whether it can work."""

    def __init__(self, services: Services) -> None:
        self._ready = services.ready

    async def alive(self, _: web.Request) -> web.StreamResponse:
        """The process lives: it answers."""
        return answers.respond({"alive": True})

    async def ready(self, _: web.Request) -> web.StreamResponse:
        """200, or 503 with what keeps it from working."""
        reasons = await self._ready()
        if not reasons:
            return answers.respond({"ready": True})
        detail, more = "; ".join(reasons), {"ready": False, "reasons": reasons}
        return respond_with(Problem(503, "not_ready", "Not ready", detail, retry_after=1.0, more=more))
