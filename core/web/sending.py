"""POST /api/send-message."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from core.errors import BadRequest, NotFound, Unavailable
from core.web import answers
from core.web.authentication import CALLER, confirm
from core.web.bodies import SEND, check_key, to_request
from core.web.parameters import only, switched_on
from core.web.preferences import preferred_wait

if TYPE_CHECKING:
    from aiohttp import web

    from core.model import Principal
    from core.outbox import StoredMessage
    from core.paths.admission import Admitted, SendRequest
    from core.services import Services

PATIENCE = 30
"""Seconds that callers of a tenant with `answer: sent` wait for the message to be sent."""

SENT = ("sent", "delivered", "read", "played")


class Sending:
    """Takes messages, explains what would become of them, and waits for them to be sent."""

    def __init__(self, services: Services) -> None:
        self._tenants, self._admission = services.tenants, services.admission
        self._outbound, self._clock = services.outbound, services.clock
        self._stopping = asyncio.Event()

    async def stop_waiting(self, _: web.Application) -> None:
        """The gateway is shut down: who waits for a message to be sent is answered with what is known."""
        self._stopping.set()

    async def post(self, request: web.Request) -> web.StreamResponse:
        """202 when the message is stored, 200 when it was sent within the time that the caller waits."""
        caller = request[CALLER]
        settings = self._tenants.settings(caller.tenant)
        dry_run = False
        if request.query_string:
            only(request, "dry_run", lenient=settings.api == "legacy")
            dry_run = switched_on(request, "dry_run")
        body = await SEND.read(request, settings.api)
        wanted = to_request(body, _client_ref(request, body.client_ref))
        if dry_run:
            return await self._explain(caller, wanted)
        admitted = await self._admission.send(caller.tenant, caller.key, wanted)
        asked = preferred_wait(request.headers.getall("Prefer", ())) if "Prefer" in request.headers else None
        seconds = asked if asked is not None else PATIENCE if settings.answer == "sent" else 0
        return await self._answer(caller.tenant, wanted, admitted, seconds, asked)

    async def _explain(self, caller: Principal, wanted: SendRequest) -> web.StreamResponse:
        await confirm(self._tenants, caller)
        return answers.respond(answers.preview(await self._admission.preview(caller.tenant, caller.key, wanted)))

    async def _answer(
        self, tenant: str, wanted: SendRequest, admitted: Admitted, seconds: int, asked: int | None
    ) -> web.StreamResponse:
        headers = {"Location": f"/api/messages/{admitted.id}"}
        if admitted.replayed:
            headers["Idempotency-Replayed"] = "true"
        if asked is not None:
            headers["Preference-Applied"] = f"wait={asked}"
        body, code = answers.admitted(admitted), 202
        if seconds and not self._is_for_later(wanted, seconds):
            message = await self._wait(tenant, admitted.id, seconds)
            if message is not None:
                body |= {"status": message.status, "cause": message.cause}
                code = 200 if message.status in SENT else 202
        return answers.respond(body, code, headers)

    def _is_for_later(self, wanted: SendRequest, seconds: int) -> bool:
        return wanted.send_at is not None and (wanted.send_at - self._clock.now()).total_seconds() > seconds

    async def _wait(self, tenant: str, message_id: str, seconds: int) -> StoredMessage | None:
        """The message as it is after waiting; None when nobody can say. It is stored, so that its caller must never
        hear an error now and send it once more."""
        waiting = asyncio.ensure_future(self._outbound.wait_until_sent(tenant, message_id, seconds))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return await waiting if waiting.done() else None
        except (Unavailable, NotFound):
            return None
        finally:
            waiting.cancel()
            stopping.cancel()


def _client_ref(request: web.Request, in_body: str | None) -> str | None:
    """The idempotency key: of the header or the body, where both must say the same."""
    check_key(in_body, "client_ref")
    if "Idempotency-Key" not in request.headers:
        return in_body
    named = set(request.headers.getall("Idempotency-Key")) | ({in_body} if in_body is not None else set())
    if len(named) > 1:
        raise BadRequest("two_idempotency_keys", "Idempotency-Key and client_ref differ; send one of them")
    return check_key(named.pop(), "Idempotency-Key")
