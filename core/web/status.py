"""GET /api/status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.web import answers
from core.web.authentication import CALLER

if TYPE_CHECKING:
    from aiohttp import web

    from core.services import Services


class SessionState:
    """Whether the tenant's WhatsApp session is connected, and if not, why."""

    def __init__(self, services: Services) -> None:
        self._tenants, self._session_of = services.tenants, services.session_of

    async def get(self, request: web.Request) -> web.Response:
        """The session of the caller's tenant."""
        tenant = request[CALLER].tenant
        transport = self._tenants.settings(tenant).transport
        return answers.respond(answers.session(tenant, transport, self._session_of(tenant)))
