"""GET /api/callbacks and POST /api/callbacks/{id}/redeliver."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast, get_args
from uuid import UUID

from core.callback_rows import DeliveryStatus
from core.errors import BadRequest, Conflict, NotFound
from core.hooks.answers import storable
from core.web import answers
from core.web.authentication import CALLER
from core.web.parameters import number, only

if TYPE_CHECKING:
    from aiohttp import web

    from core.services import Services

DEFAULT_LIMIT, LARGEST_LIMIT = 100, 1000


class CallbackRoutes:
    """What became of a tenant's callbacks. No URL, header or secret of an endpoint is told: only where it is."""

    def __init__(self, services: Services) -> None:
        self._store, self._tenants = services.callbacks, services.tenants

    async def get(self, request: web.Request) -> web.StreamResponse:
        """How the endpoints fare, and the deliveries, the newest event first."""
        tenant = request[CALLER].tenant
        settings = self._tenants.settings(tenant)
        only(request, "status", "endpoint", "limit", "after", lenient=settings.api == "legacy")
        limit = number(request, "limit", DEFAULT_LIMIT, 1, LARGEST_LIMIT)
        found = await self._store.deliveries(
            tenant,
            limit + 1,
            status=_status(request),
            endpoint=_endpoint(request),
            after=_after(request),
        )
        states = {state.endpoint: state for state in await self._store.endpoints(tenant)}
        endpoints = [answers.endpoint(one, states.get(one.name)) for one in settings.callbacks]
        return answers.respond(answers.callbacks(endpoints, found[:limit], has_more=len(found) > limit))

    async def redeliver(self, request: web.Request) -> web.StreamResponse:
        """Try it again for another day, as what it was: the same webhook-id."""
        tenant = request[CALLER].tenant
        settings = self._tenants.settings(tenant)
        only(request, lenient=settings.api == "legacy")
        name = request.match_info["id"]
        delivery = await self._store.delivery(name, tenant) if _is_uuid(name) else None
        if delivery is None:
            raise NotFound("delivery_not_found", "there is no such delivery")
        if delivery.endpoint not in {endpoint.name for endpoint in settings.callbacks}:
            raise Conflict("endpoint_gone", f"there is no endpoint {delivery.endpoint!r} any more")
        if not await self._store.redeliver([delivery.id]):
            raise Conflict("delivery_pending", "it is on its way already", state="pending")
        again = await self._store.delivery(delivery.id, tenant)
        return answers.respond(answers.delivery(again or delivery), 202)


def _status(request: web.Request) -> DeliveryStatus | None:
    status = request.query.get("status")
    if status is not None and status not in get_args(DeliveryStatus):
        raise BadRequest("parameter_invalid", f"status is one of {', '.join(get_args(DeliveryStatus))}", field="status")
    return cast("DeliveryStatus | None", status)


def _endpoint(request: web.Request) -> str | None:
    name = request.query.get("endpoint")
    if name is not None and not storable(name):
        raise BadRequest("parameter_invalid", "endpoint is the name of one", field="endpoint")
    return name


def _after(request: web.Request) -> str | None:
    after = request.query.get("after")
    if after is not None and not _is_uuid(after):
        raise BadRequest("parameter_invalid", "after is the `next` of the page before", field="after")
    return after


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
