"""GET, POST and DELETE /api/whitelist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core import jid
from core.errors import BadRequest, NotFound, Unprocessable
from core.web import answers
from core.web.authentication import CALLER
from core.web.bodies import NUMBER
from core.web.parameters import only

if TYPE_CHECKING:
    from aiohttp import web

    from core.services import Services


class Whitelist:
    """The numbers that pass a tenant's limits. Every spelling of a number is one entry."""

    def __init__(self, services: Services) -> None:
        self._store, self._tenants = services.store, services.tenants

    async def get(self, request: web.Request) -> web.StreamResponse:
        """All of them."""
        listed = await self._store.whitelist(request[CALLER].tenant)
        return answers.respond({"whitelist": listed, "total": len(listed)})

    async def post(self, request: web.Request) -> web.StreamResponse:
        """201 when the number is new, 200 when it stood there."""
        to = await self._number(request)
        is_new = await self._store.whitelist_add(request[CALLER].tenant, to)
        return answers.respond({"number": to, "whitelisted": True}, 201 if is_new else 200)

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """200 when it stood there, else 404."""
        to = await self._number(request)
        if not await self._store.whitelist_remove(request[CALLER].tenant, to):
            raise NotFound("not_listed", "this number is not on the whitelist", field="number")
        return answers.respond({"number": to, "whitelisted": False})

    async def _number(self, request: web.Request) -> str:
        """The recipient key of the number in the body or in the query."""
        settings = self._tenants.settings(request[CALLER].tenant)
        only(request, "number", lenient=settings.api == "legacy")
        named = [request.query["number"]] if "number" in request.query else []
        if request.body_exists and (request.content_length != 0):
            named.append(str((await NUMBER.read(request, settings.api)).number))
        keys = {jid.parse(number, settings.region).key for number in named}
        if not keys:
            raise Unprocessable("field_missing", "number is missing: in the body, or in the query", field="number")
        if len(keys) > 1:
            raise BadRequest("two_numbers", "body and query name different numbers; send one of them", field="number")
        return keys.pop()
