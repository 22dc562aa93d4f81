"""GET /api/quota/{number}."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.web import answers
from core.web.authentication import CALLER

if TYPE_CHECKING:
    from aiohttp import web

    from core.paths.quota import Quotas


class RecipientQuotas:
    """How many messages a number may still be sent today."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas

    async def get(self, request: web.Request) -> web.StreamResponse:
        """The quota of one number."""
        quota = await self._quotas.of(request[CALLER].tenant, request.match_info["number"])
        return answers.respond(answers.recipient_quota(quota))
