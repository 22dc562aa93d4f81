"""GET /api/events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import BadRequest
from core.event_types import EVERYTHING, check_types
from core.web import answers
from core.web.authentication import CALLER, confirm
from core.web.parameters import number, only

if TYPE_CHECKING:
    from aiohttp import web

    from core.services import Services

LATEST = "latest"
DEFAULT_LIMIT, LARGEST_LIMIT = 100, 1000
LONGEST_WAIT = 60
_LARGEST_SEQ = 2**63 - 1


class Events:
    """What has happened to a tenant, in order."""

    def __init__(self, services: Services) -> None:
        self._feed, self._tenants = services.events, services.tenants

    async def stop_waiting(self, _: web.Application) -> None:
        """The gateway is shut down."""
        self._feed.close()

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Those behind `?after=`; with `wait=`, as soon as there is one. `after=latest`: only where to begin."""
        caller = request[CALLER]
        settings = self._tenants.settings(caller.tenant)
        only(request, "after", "limit", "wait", "types", lenient=settings.api == "legacy")
        limit = number(request, "limit", DEFAULT_LIMIT, 1, LARGEST_LIMIT)
        patience = number(request, "wait", 0, 0, LONGEST_WAIT)
        types = _types(request)
        if request.query.get("after") == LATEST:
            return answers.respond({"events": [], "next": await self._feed.newest(caller.tenant)})
        after = number(request, "after", 0, 0, _LARGEST_SEQ) if "after" in request.query else None
        page = await self._feed.page(caller.tenant, after, limit, types, patience)
        if patience:
            await confirm(self._tenants, caller)
        return answers.respond(answers.events(page))


def _types(request: web.Request) -> list[str]:
    types = request.query.get("types", EVERYTHING).split(",")
    try:
        check_types(types)
    except ValueError as problem:
        raise BadRequest("parameter_invalid", f"types: {problem}", field="types") from problem
    return types
