"""What a recipient may still be sent today: what admission would decide, without a message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from uuid_utils import uuid7

from core import jid
from core.decisions import Listed, Quota, Said, merge
from core.model import Outgoing
from core.paths.batch import DAILY
from core.windows import window

if TYPE_CHECKING:
    from datetime import datetime

    from core.clock import Clock
    from core.decisions import Deny, Verdict
    from core.tenants import Tenants
    from db.store import Store

PROBE = "?"
"""What plugins are shown as the content of a message that nobody sends."""


@dataclass(frozen=True, slots=True)
class RecipientQuota:
    """`limit` and `remaining` are None when the recipient is exempt, or no daily limit is enabled; `deny` is what a
    plugin says against any message to this recipient."""

    to: str
    limit: int | None
    used: int
    remaining: int | None
    resets_at: datetime
    whitelisted: bool
    deny: Deny | None


class Quotas:
    """The daily quotas of recipients."""

    def __init__(self, store: Store, tenants: Tenants, clock: Clock) -> None:
        self._store, self._tenants, self._clock = store, tenants, clock

    async def of(self, tenant: str, number: str) -> RecipientQuota:
        """The quota of a number in any spelling. Raises Unprocessable for what is no number, PluginFailed, and what
        plugins refuse by raising."""
        settings, now = self._tenants.settings(tenant), self._clock.now()
        address = jid.parse(number, settings.region)
        day = window("day", now, settings.zone)
        used, listed = await self._store.recipient(tenant, address.key, day.day)
        verdict = await self._verdict(_probe(tenant, address, day.end))
        limit = _limit(verdict, listed)
        return RecipientQuota(
            to=address.key,
            limit=limit,
            used=used,
            remaining=None if limit is None else max(limit - used, 0),
            resets_at=day.end,
            whitelisted=Listed.WHITELIST in listed,
            deny=verdict.deny or next((d for d in verdict.denied_when if d.when and d.when & listed), None),
        )

    async def _verdict(self, message: Outgoing) -> Verdict:
        said = await self._tenants.hooks(message.tenant).collect("admit", message=message)
        return merge(Said(plugin, decision) for plugin, decision in said)


def _probe(tenant: str, address: jid.Address, expires_at: datetime) -> Outgoing:
    return Outgoing(
        id=str(uuid7()),
        tenant=tenant,
        to=address.key,
        phone=address.phone,
        lid=address.lid,
        content=PROBE,
        expires_at=expires_at,
    )


def _limit(verdict: Verdict, listed: Listed) -> int | None:
    """The smallest daily limit that holds for a recipient who stands in these lists."""
    waived = {name for exempt in verdict.waived_when if exempt.when and exempt.when & listed for name in exempt.names}
    limits = [q.limit for q in verdict.quotas if _is_daily(q) and q.name not in waived and _holds(q, listed)]
    return min(limits, default=None)


def _is_daily(quota: Quota) -> bool:
    return quota.name == DAILY and quota.per == "recipient" and quota.period == "day"


def _holds(quota: Quota, listed: Listed) -> bool:
    return quota.when is None or bool(quota.when & listed)
