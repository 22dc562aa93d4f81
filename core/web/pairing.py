"""/api/qr, /api/qr/image, /api/qr/page, /api/pair-code and /api/pair-link: how a phone becomes a tenant's.

Who has a QR code or a pairing code may link the tenant to a phone of his own; so whoever gets one may manage the
tenant, or has been given a link by somebody who may.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from aiohttp import web

from core import jid
from core.errors import Conflict, Unprocessable
from core.web import answers, html, qr
from core.web.authentication import CALLER, FORCE, LINK
from core.web.bodies import NUMBER
from core.web.parameters import only, switched_on

if TYPE_CHECKING:
    from core.services import Services
    from core.session_rows import Pairing

PAGE = "/api/qr/page"

_HOST = re.compile(r"(?:[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


class PairingRoutes:
    """What a person needs to link a phone, and how it is handed on."""

    def __init__(self, services: Services) -> None:
        self._tenants, self._sessions, self._session_of = services.tenants, services.sessions, services.session_of
        self._public_url = services.settings.server.public_url

    async def get(self, request: web.Request) -> web.StreamResponse:
        """The state, and the QR code while there is one. Begins to pair, unless `?start=0` or there is a phone."""
        tenant = self._tenant(request, LINK, "start")
        begins = "start" not in request.query or switched_on(request, "start")
        try:
            if begins:
                await self._sessions.pair(tenant, force=_forced(request))
        except Conflict as refused:
            if refused.code != "already_paired":
                raise
        return answers.respond(self._told(tenant))

    async def image(self, request: web.Request) -> web.StreamResponse:
        """The QR code as a PNG; begins to pair. 409 when there is nothing to show because a phone is linked."""
        tenant = self._tenant(request, LINK)
        pairing = await self._sessions.pair(tenant, force=_forced(request))
        return web.Response(body=qr.png(pairing.qr or ""), content_type="image/png")

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The page that shows all that and follows it. Opening it changes nothing; its script begins to pair."""
        self._tenant(request, LINK)
        return html.pairing()

    async def code(self, request: web.Request) -> web.StreamResponse:
        """The eight characters to type into the phone with that number; begins to pair if need be. `?force=1`: the
        number may be another than before; a link cannot ask for that, it was made so or not."""
        tenant = self._tenant(request, LINK if LINK in request.query else "force")
        settings = self._tenants.settings(tenant)
        number = str((await NUMBER.read(request, settings.api)).number)
        phone = phone_of(number, settings.region)
        pairing = await self._sessions.pair(tenant, phone, force=_forced(request))
        return answers.respond({"code": answers.pairing_code(pairing.code), "expires_at": pairing.code_until})

    async def link(self, request: web.Request) -> web.StreamResponse:
        """The address of a page that pairs this one tenant, good for ten minutes; with `?force=1` also with another
        number than before."""
        tenant = self._tenant(request, "force")
        token, expires_at = await self._sessions.pair_link(tenant, force=_forced(request))
        base = self._public_url or _own_url(request)
        return answers.respond({"url": page_url(base, token), "expires_at": expires_at}, 201)

    def _tenant(self, request: web.Request, *parameters: str) -> str:
        """The caller's tenant, which has a WhatsApp session, when the query holds nothing but these."""
        tenant = request[CALLER].tenant
        settings = self._tenants.settings(tenant)
        only(request, *parameters, lenient=settings.api == "legacy")
        check_whatsapp(settings.transport)
        return tenant

    def _told(self, tenant: str) -> dict[str, Any]:
        status, pairing = self._session_of(tenant), self._sessions.pairing(tenant)
        return answers.pairing(tenant, status, pairing, _picture(pairing))


def _forced(request: web.Request) -> bool:
    """Whether another number than before may be linked."""
    return FORCE in request[CALLER].scopes or (LINK not in request.query and switched_on(request, "force"))


def page_url(base: str, token: str) -> str:
    """The pairing page of the gateway at `base`, opened by a link's token."""
    return f"{base}{PAGE}?{LINK}={token}"


def check_whatsapp(transport: str) -> None:
    """Raise Conflict for a tenant that has no WhatsApp session and never will."""
    if transport == "dry_run":
        why = "this tenant sends dryly and needs no phone; with `transport: whatsapp` in its file it is linked to one"
        raise Conflict("dry_run_tenant", why)


def phone_of(number: str, region: str) -> str:
    """The digits of a phone number as people write it. Raises Unprocessable, also for what is no phone's."""
    address = jid.parse(number, region)
    if address.phone is None:
        raise Unprocessable("number_not_a_phone", "a phone's own number is needed here", field="number")
    return address.phone


def _picture(pairing: Pairing | None) -> str | None:
    return qr.data_url(pairing.qr) if pairing and pairing.qr else None


def _own_url(request: web.Request) -> str:
    """How the caller reached this gateway, if that can be an address at all: it is told to nobody else."""
    host = request.headers.get("Host", "")
    if _HOST.fullmatch(host):
        return f"{request.scheme}://{host}"
    address, port = request.transport.get_extra_info("sockname")[:2] if request.transport else ("127.0.0.1", 3000)
    return f"{request.scheme}://[{address}]:{port}" if ":" in address else f"{request.scheme}://{address}:{port}"
