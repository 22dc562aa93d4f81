"""What callers are answered: core's values as JSON bodies. Times are ISO 8601 in UTC, ending in Z."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from core.web.whole import Whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiohttp import web

    from core.callback_rows import Delivery, EndpointState
    from core.callback_settings import Endpoint
    from core.event_rows import EventPage
    from core.model import OptOut
    from core.outbox import StoredMessage, Usage
    from core.paths.admission import Admitted, Preview
    from core.paths.quota import RecipientQuota
    from core.session_rows import Pairing
    from core.transport.base import SessionStatus

_JSON = "application/json"
_encode = msgspec.json.Encoder().encode


def respond(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.StreamResponse:
    """`body` as JSON."""
    return Whole(status=status, body=_encode(body), headers={"Content-Type": _JSON, **(headers or {})})


def usage(quota: Usage | None) -> dict[str, Any] | None:
    """{limit, used, remaining, resets_at}."""
    if quota is None:
        return None
    remaining = max(quota.limit - quota.used, 0)
    return {"limit": quota.limit, "used": quota.used, "remaining": remaining, "resets_at": quota.resets_at}


def admitted(message: Admitted) -> dict[str, Any]:
    """The answer to a message that was taken."""
    return {
        "id": message.id,
        "status": message.status,
        "to": message.to,
        "expected_at": message.expected_at,
        "ahead": message.ahead,
        "quota": usage(message.quota),
    }


def preview(told: Preview) -> dict[str, Any]:
    """The answer to a dry run."""
    status, code, detail = told.refusal or (None, None, None)
    return {
        "dry_run": True,
        "allowed": told.refusal is None,
        "to": told.to,
        "status": status,
        "code": code,
        "detail": detail,
        "expected_at": told.expected_at,
        "ahead": told.ahead,
        "quota": usage(told.quota),
        "waived": told.waived,
        "gaps": told.gaps,
        "explanation": told.explanation,
    }


def message(stored: StoredMessage) -> dict[str, Any]:
    """A message with its whole story."""
    return {
        "id": stored.id,
        "status": stored.status,
        "cause": stored.cause,
        "to": stored.to,
        "kind": stored.kind,
        "message": stored.content,
        "reply_to": stored.reply_to,
        "mentions": stored.mentions,
        "client_ref": stored.client_ref,
        "priority": stored.priority,
        "answers": stored.answers,
        "wa_id": stored.wa_id,
        "created_at": stored.created_at,
        "send_at": stored.send_at,
        "expected_at": stored.expected_at,
        "expires_at": stored.expires_at,
        "sent_at": stored.sent_at,
        "ahead": stored.ahead,
        "gap": stored.gap_ms / 1000,
        "gaps": {plugin: milliseconds / 1000 for plugin, milliseconds in stored.gaps.items()},
        "waived": stored.waived,
        "quota": usage(stored.quota),
        "explanation": stored.explanation,
        "history": [_event(event) for event in stored.history],
    }


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    at = datetime.fromisoformat(event["at"]).astimezone(UTC)
    return {"status": event["status"], "at": at, "cause": event.get("cause")}


def session(tenant: str, transport: str, status: SessionStatus) -> dict[str, Any]:
    """The state of a tenant's session. `connected` and `qrImageUrl` are what callers of the old gateway look at."""
    return {
        "connected": status.state == "connected",
        "qrImageUrl": "/api/qr/image" if status.state == "pairing" else None,
        "state": status.state,
        "reason": status.reason,
        "phone": status.phone,
        "phone_last_seen": status.phone_last_seen,
        "since": status.since,
        "sandbox": status.sandbox,
        "tenant": tenant,
        "transport": transport,
    }


def pairing(tenant: str, status: SessionStatus, shown: Pairing | None, image: str | None) -> dict[str, Any]:
    """How far a tenant is with linking a phone, and what is needed for it: the QR code, as text and as a picture, or
    the eight characters to type."""
    return {
        "connected": status.state == "connected",
        "state": status.state,
        "reason": status.reason,
        "phone": status.phone,
        "qr": shown.qr if shown else None,
        "expires_at": shown.qr_until if shown else None,
        "image": image,
        "code": pairing_code(shown.code) if shown else None,
        "code_expires_at": shown.code_until if shown else None,
        "tenant": tenant,
    }


def pairing_code(code: str | None) -> str | None:
    """`ABCD-EFGH`, as phones ask for it."""
    plain = (code or "").replace("-", "")
    return f"{plain[:4]}-{plain[4:]}" if len(plain) == 8 else code


def recipient_quota(quota: RecipientQuota) -> dict[str, Any]:
    """What a recipient may still be sent today. `isInContacts` is null: not known."""
    return {
        "number": quota.to,
        "limit": quota.limit,
        "used": quota.used,
        "remaining": quota.remaining,
        "resets_at": quota.resets_at,
        "whitelisted": quota.whitelisted,
        "isInContacts": None,
        "denied": {"code": quota.deny.code, "detail": quota.deny.message} if quota.deny else None,
    }


def opt_outs(page: Sequence[OptOut], *, has_more: bool) -> dict[str, Any]:
    """A page of those who asked for no more messages; `next` goes on behind it."""
    return {
        "opt_outs": [
            {
                "number": one.to,
                "since": one.since,
                "proof": {"message_id": one.message_id, "text": one.content, "chat": one.chat},
            }
            for one in page
        ],
        "next": page[-1].to if has_more else None,
    }


def events(page: EventPage) -> dict[str, Any]:
    """Events in order; `next` is after which to go on."""
    told = [{"seq": event.seq, "type": event.type, "at": event.at, "data": event.data} for event in page.events]
    return {"events": told, "next": page.next}


def delivery(one: Delivery) -> dict[str, Any]:
    """One event on its way to one endpoint."""
    return {
        "id": one.id,
        "endpoint": one.endpoint,
        "seq": one.seq,
        "type": one.type,
        "at": one.at,
        "status": one.status,
        "tries": one.tries,
        "next_at": one.next_at,
        "last_try_at": one.last_try_at,
        "last_status": one.last_status,
        "last_error": one.last_error,
    }


def endpoint(one: Endpoint, state: EndpointState | None) -> dict[str, Any]:
    """How an endpoint fares, and of its URL no more than the host."""
    return {
        "name": one.name,
        "origin": one.origin,
        "events": one.events,
        "signed": one.secret is not None,
        "pending": state.pending if state else 0,
        "dead": state.dead if state else 0,
        "failures": state.failures if state else 0,
        "rests_until": state.rests_until if state else None,
    }


def callbacks(endpoints: Sequence[dict[str, Any]], page: Sequence[Delivery], *, has_more: bool) -> dict[str, Any]:
    """A page of deliveries; `next` goes on behind it."""
    return {
        "endpoints": endpoints,
        "deliveries": [delivery(one) for one in page],
        "next": page[-1].id if has_more else None,
    }
