"""GET /api/status, POST /api/logout and /api/reconnect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.web import answers
from core.web.authentication import CALLER
from core.web.pairing import check_whatsapp
from core.web.parameters import only

if TYPE_CHECKING:
    from aiohttp import web

    from core.services import Services


class SessionState:
    """Whether the tenant's WhatsApp session is connected, and if not, why; its end, and a new beginning."""

    def __init__(self, services: Services) -> None:
        self._tenants, self._sessions, self._session_of = services.tenants, services.sessions, services.session_of

    async def get(self, request: web.Request) -> web.StreamResponse:
        """The session of the caller's tenant."""
        return self._told(request[CALLER].tenant)

    async def logout(self, request: web.Request) -> web.StreamResponse:
        """Unlink the phone; the session as it is then."""
        tenant = self._tenant(request)
        await self._sessions.logout(tenant)
        return self._told(tenant)

    async def reconnect(self, request: web.Request) -> web.StreamResponse:
        """Close the connection and open it again; the session as it is then."""
        tenant = self._tenant(request)
        await self._sessions.reconnect(tenant)
        return self._told(tenant)

    def _tenant(self, request: web.Request) -> str:
        tenant = request[CALLER].tenant
        settings = self._tenants.settings(tenant)
        only(request, lenient=settings.api == "legacy")
        check_whatsapp(settings.transport)
        return tenant

    def _told(self, tenant: str) -> web.StreamResponse:
        transport = self._tenants.settings(tenant).transport
        return answers.respond(answers.session(tenant, transport, self._session_of(tenant)))
