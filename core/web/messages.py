"""GET and DELETE /api/messages/{id}."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.web import answers
from core.web.authentication import CALLER

if TYPE_CHECKING:
    from aiohttp import web

    from core.services import Services


class Messages:
    """One tenant's messages, by id."""

    def __init__(self, services: Services) -> None:
        self._outbound = services.outbound

    async def get(self, request: web.Request) -> web.StreamResponse:
        """The message and its story."""
        stored = await self._outbound.get(request[CALLER].tenant, request.match_info["id"])
        return answers.respond(answers.message(stored))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Cancel it while it is queued; the answer is the message as it is then."""
        stored = await self._outbound.cancel(request[CALLER].tenant, request.match_info["id"])
        return answers.respond(answers.message(stored))
