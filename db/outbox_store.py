"""What the outbox asks of PostgreSQL: claims, records, put-backs, and what time and crashes do to messages. It fails as
`db.store` does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from core.model import PRIORITIES, Outgoing, StatusChange
from core.outbox import Claimed, StoredMessage, Usage, Wait
from db.sql import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.model import Status
    from db.database import Database
    from db.statement import Row


class OutboxStore:
    """Typed calls; stateless but for its database."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def claim(
        self, tenant: str, process: int, secret: bytes | None = None, *, known_only: bool = False
    ) -> Claimed | Wait | None:
        """The tenant's next message, now `sending`; or how long until one is due; or None when nothing is queued
        that time alone will bring up.

        `secret`: 32 random bytes, which the message carries from now on; None when it does not go through WhatsApp.
        Only the holder of the tenant's session gets anything with one. `known_only`: no new conversations."""
        row = await self._db.fetch_one(load("claim"), (tenant, process, secret, known_only), idempotent=True)
        if row is None:
            return None
        *message, wait, kept = row
        if message[0] is None:
            return Wait(max(wait, 0.0), to=message[1])
        return Claimed(_claimed(tenant, tuple(message)), bytes(kept) if kept is not None else None)

    async def record(
        self,
        change: StatusChange,
        process: int,
        *,
        secret: bytes | None = None,
        wa_id: str | None = None,
        gives_back: bool = False,
    ) -> StatusChange | None:
        """Write what became of a message in flight; None when it is no news, or another's message by now. `secret`: of
        its attempt; `gives_back`: what it counted returns."""
        parameters = {
            "tenant": change.tenant, "id": change.message_id, "to": change.to, "status": change.status,
            "cause": change.cause, "wa_id": wa_id, "returns": gives_back, "process": process, "secret": secret,
        }  # fmt: skip
        row = await self._db.fetch_one(load("record"), parameters, idempotent=True)
        return replace(change, at=row[0]) if row else None

    async def requeue(  # noqa: PLR0913 - as above
        self,
        message_id: str,
        process: int,
        reason: str,
        *,
        secret: bytes | None = None,
        is_own: bool = False,
        pause: float = 0.0,
    ) -> StatusChange | None:
        """A message that certainly did not leave stands in line again, and is not tried for `pause` seconds.
        `is_own`: the reason lies in the message; the pauses grow, and the eighth time it has `failed`, which is
        returned."""
        parameters = {
            "id": message_id, "process": process, "cause": reason, "secret": secret, "is_own": is_own, "pause": pause,
        }  # fmt: skip
        row = await self._db.fetch_one(load("requeue"), parameters, idempotent=True)
        if row is None or row[0] != "failed":
            return None
        _, tenant, to, at = row
        return StatusChange(tenant=tenant, message_id=message_id, to=to, status="failed", at=at, cause="gave_up")

    async def cancel(self, tenant: str, message_id: str) -> tuple[Status, StatusChange | None] | None:
        """(the status before, the change when it was still queued); None when the tenant has no such message."""
        row = await self._db.fetch_one(load("cancel"), {"tenant": tenant, "id": message_id}, idempotent=True)
        if row is None:
            return None
        status, at, recipient = row
        if at is None:
            return status, None
        return status, StatusChange(tenant=tenant, message_id=message_id, to=recipient, status="cancelled", at=at)

    async def expire(self) -> list[StatusChange]:
        """Queued messages whose time is over become `expired`; at most 1,000 a call."""
        return _changes(await self._db.fetch(load("expire"), idempotent=True), "expired", "not_sent_in_time")

    async def withdraw(self, ids: Sequence[str]) -> list[StatusChange]:
        """Messages whose callers were told 503 shall not go; their idempotency keys are free again."""
        rows = await self._db.fetch(load("withdraw"), {"ids": list(ids)}, idempotent=True)
        return _changes(rows, "expired", "answered_503")

    async def settle(self, grace: float, tenant: str | None = None) -> list[StatusChange]:
        """Messages in flight whose process is gone, for which those that were claimed less than `grace` seconds ago
        have time, or that lost their tenant's lease: `queued` again when it is certain that they did not leave, and
        `unknown` when no receipt is to be expected any more. `tenant`: only this one's."""
        rows = await self._db.fetch(load("settle"), (grace, tenant), idempotent=True)
        return [
            StatusChange(tenant=whose, message_id=message_id, to=to, status=status, at=at, cause=cause)
            for message_id, whose, to, status, cause, at in rows
            if status != "sending"
        ]

    async def tenants_with_unknown(self) -> list[str]:
        """Who has `unknown` messages that could be sent once more."""
        return [row[0] for row in await self._db.fetch(load("tenants_with_unknown"), idempotent=True)]

    async def resend(self, tenants: Sequence[str]) -> list[StatusChange]:
        """`unknown` messages of these are queued again, whether they left or not."""
        return _changes(await self._db.fetch(load("resend"), (list(tenants),), idempotent=True), "queued", "resend")

    async def overdue(self) -> list[tuple[str, str]]:
        """(tenant, id) of messages that WhatsApp has not confirmed for a minute; each once, and an event tells it."""
        rows = await self._db.fetch("SELECT tenant_id, id::text FROM overdue_v1()", idempotent=True)
        return [(row[0], row[1]) for row in rows]

    async def tenants_with_queue(self) -> list[str]:
        """Who has queued messages whose time has come."""
        return [row[0] for row in await self._db.fetch(load("tenants_with_queue"), idempotent=True)]

    async def message(self, tenant: str, message_id: str) -> StoredMessage | None:
        """One message of this tenant."""
        row = await self._db.fetch_one(load("message"), (tenant, message_id), idempotent=True)
        return _stored(row) if row else None


def _stored(row: Row) -> StoredMessage:
    values: Row = (*row[:8], PRIORITIES[row[8] - 1], *row[9:23], Usage(*row[23:]) if row[23] else None)
    return StoredMessage(*values)


def _claimed(tenant: str, row: Row) -> Outgoing:
    message_id, to, kind, content, reply_to, mentions, client_ref, answers, priority, send_at, expires_at = row
    return Outgoing(
        id=message_id,
        tenant=tenant,
        to=to,
        phone=None if "@" in to else to,
        lid=to if to.endswith("@lid") else None,
        kind=kind,
        content=content,
        reply_to=reply_to,
        mentions=tuple(mentions),
        client_ref=client_ref,
        answers=answers,
        priority=PRIORITIES[priority - 1],
        send_at=send_at,
        expires_at=expires_at,
    )


def _changes(rows: list[Row], status: Status, cause: str) -> list[StatusChange]:
    return [
        StatusChange(tenant=tenant, message_id=message_id, to=to, status=status, at=at, cause=cause)
        for message_id, tenant, to, at in rows
    ]
