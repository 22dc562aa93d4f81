"""Who asked for no more messages, in PostgreSQL. It fails as `db.store` does; every call may be repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.model import OptOut, StatusChange
from db.sql import load

if TYPE_CHECKING:
    from core.model import Incoming
    from db.database import Database

DROPPED = "opted_out"
"""The cause of a message that was queued when its recipient opted out."""


class OptOutStore:
    """Typed calls; stateless but for its database."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def add(self, tenant: str, message: Incoming) -> tuple[bool, list[StatusChange]]:
        """Whoever wrote the message is out, by every address that is known of them. (Whether it is this message that
        brought it about; what was queued for them under the condition that they are not out, now cancelled.)"""
        said = _said(tenant, message)
        out = await self._is("opt_out", said | {"chat": message.chat})
        dropped = await self._db.fetch(load("opt_out_drops"), said, idempotent=True)
        return out, [
            StatusChange(tenant=whose, message_id=message_id, to=to, status="cancelled", at=at, cause=DROPPED)
            for message_id, whose, to, at in dropped
        ]

    async def remove(self, tenant: str, message: Incoming) -> bool:
        """Whoever wrote the message is back. Whether it is this message that brought it about."""
        return await self._is("opt_in", _said(tenant, message))

    async def page(self, tenant: str, after: str, most: int) -> list[OptOut]:
        """Up to `most` of the tenant's, those behind `after`; a person once, by number where it is known."""
        rows = await self._db.fetch(
            load("opt_outs"), {"tenant": tenant, "after": after, "most": most}, idempotent=True
        )  # fmt: skip
        return [OptOut(*row) for row in rows]

    async def _is(self, query: str, parameters: dict[str, Any]) -> bool:
        row = await self._db.fetch_one(load(query), parameters, idempotent=True)
        return row == (True,)


def _said(tenant: str, message: Incoming) -> dict[str, Any]:
    known = {message.sender, message.phone, message.lid} - {None}
    return {
        "tenant": tenant,
        "known": sorted(address for address in known if address and not address.endswith("@g.us")),
        "id": message.id,
        "content": message.content,
        "at": message.at,
    }
