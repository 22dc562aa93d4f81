"""GET /api/opt-outs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import BadRequest
from core.hooks.answers import storable
from core.web import answers
from core.web.authentication import CALLER
from core.web.parameters import only

if TYPE_CHECKING:
    from aiohttp import web

    from core.services import Services

PAGE = 1000


class OptOuts:
    """Who asked a tenant for no more messages. Only they can come back, so nothing here changes the list."""

    def __init__(self, services: Services) -> None:
        self._opt_outs, self._tenants = services.opt_outs, services.tenants

    async def get(self, request: web.Request) -> web.StreamResponse:
        """A thousand, those behind `?after=`."""
        tenant = request[CALLER].tenant
        only(request, "after", lenient=self._tenants.settings(tenant).api == "legacy")
        after = request.query.get("after", "")
        if not storable(after):
            raise BadRequest("parameter_invalid", "after is the `next` of the page before", field="after")
        found = await self._opt_outs.page(tenant, after, PAGE + 1)
        return answers.respond(answers.opt_outs(found[:PAGE], has_more=len(found) > PAGE))
