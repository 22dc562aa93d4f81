"""Makes candidates for admission as the door would, and looks at what they left behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from uuid_utils import uuid7

from core.decisions import Decision, Exempt, Listed, Quota, Said, merge
from core.model import Outgoing, StatusChange
from core.outbox import Claimed
from core.paths.batch import Candidate, encode
from db.store import Store

if TYPE_CHECKING:
    from core.outbox import Outcome
    from db.database import Database

KEY = "sha256:" + "0" * 64
JAKARTA = ZoneInfo("Asia/Jakarta")
WHITELISTED = Said("whitelist", Exempt(("daily_limit", "delay"), when=Listed.WHITELIST))


def limited(limit: int) -> tuple[Said, ...]:
    """What the built-ins say for a daily limit."""
    return WHITELISTED, Said("daily_limit", Quota(limit))


def candidate(
    to: str = "628111",
    *,
    tenant: str = "shop",
    said: tuple[Said, ...] = (),
    gap: float = 0.0,
    fingerprint: str = "same",
    lifetime: float = 3600.0,
    at: datetime | None = None,
    **message: Any,
) -> Candidate:
    """A message of `tenant` to `to`; `gap` and `lifetime` in seconds; `at`: when it came; the rest are fields of
    Outgoing."""
    now = at or datetime.now(UTC)
    outgoing = Outgoing(
        id=str(uuid7()),
        tenant=tenant,
        to=to,
        expires_at=now + timedelta(seconds=lifetime),
        **{"content": "hi", **message},
    )
    return Candidate(
        message=outgoing,
        verdict=merge(said),
        gaps=(("delay", round(gap * 1000)),) if gap else (),
        zone=JAKARTA,
        at=now,
        key=KEY,
        fingerprint=fingerprint if outgoing.client_ref is not None else None,
    )


def says(plugin: str, *decisions: Decision) -> tuple[Said, ...]:
    """One plugin's decisions."""
    return tuple(Said(plugin, decision) for decision in decisions)


@dataclass
class Door:
    """The store of one database, with shortcuts for tests."""

    db: Database
    store: Store = field(init=False)
    processes: int = 0
    holders: dict[str, int] = field(default_factory=dict)
    """Message -> the process that has claimed it last."""

    def __post_init__(self) -> None:
        self.store = Store(self.db)

    async def admit(self, *candidates: Candidate) -> list[Outcome]:
        return await self.store.admit(encode(candidates))

    async def claim(self, tenant: str = "shop") -> Outgoing | None:
        """As another process each time: one process gets what it holds already."""
        self.processes += 1
        claimed = await self.store.claim(tenant, self.processes)
        if not isinstance(claimed, Claimed):
            return None
        self.holders[claimed.message.id] = self.processes
        return claimed.message

    async def sent(self, message: Outgoing, process: int | None = None) -> None:
        """Recorded by `process`, otherwise by whoever claimed it here."""
        change = StatusChange(
            tenant=message.tenant, message_id=message.id, to=message.to, status="sent", at=datetime.now(UTC)
        )
        assert await self.store.record(change, process or self.holders[message.id], wa_id="WA") is not None

    async def counted(self, to: str = "628111", tenant: str = "shop") -> int:
        """The sum over all days."""
        row = await self.db.fetch_one(
            "SELECT coalesce(sum(count), 0)::int FROM daily_limits WHERE tenant_id = %s AND phone_number = %s",
            (tenant, to),
        )
        return row[0] if row else 0

    async def statuses(self) -> dict[str, int]:
        return dict(await self.db.fetch("SELECT status, count(*)::int FROM messages GROUP BY status"))

    async def check_books(self) -> None:
        """Lines and counters are exactly what the rows say."""
        assert await self.db.fetch(_LINES_THAT_LIE) == []
        assert await self.db.fetch(_COUNTERS_THAT_LIE) == []


_LINES_THAT_LIE = """
SELECT l.tenant_id, l.waiting, l.gap_ms, r.waiting, r.gap_ms
  FROM lines l, LATERAL (
       SELECT ARRAY(SELECT count(m.id)::int FROM generate_series(1, 6) lane LEFT JOIN messages m
                       ON m.tenant_id = l.tenant_id AND m.status = 'queued' AND m.in_line
                      AND m.priority + CASE WHEN m.gap_ms = 0 THEN 3 ELSE 0 END = lane
                    GROUP BY lane ORDER BY lane) AS waiting,
              ARRAY(SELECT coalesce(sum(m.gap_ms), 0)::bigint FROM generate_series(1, 3) lane LEFT JOIN messages m
                       ON m.tenant_id = l.tenant_id AND m.status = 'queued' AND m.in_line
                      AND m.gap_ms > 0 AND m.priority = lane GROUP BY lane ORDER BY lane) AS gap_ms) r
 WHERE l.waiting <> r.waiting OR l.gap_ms <> r.gap_ms
"""

_COUNTERS_THAT_LIE = """
SELECT coalesce(d.key, m.key), d.used, m.used
  FROM (SELECT jsonb_build_array(tenant_id, phone_number, date) AS key, count AS used FROM daily_limits
         UNION ALL
        SELECT jsonb_build_array(tenant_id, name, period, subject, window_start), used FROM quota_counters) d
  FULL JOIN (SELECT CASE jsonb_array_length(c) WHEN 4 THEN c - 3
                    ELSE (c - 5) - 4 || to_jsonb((c ->> 4)::timestamptz) END AS key, sum((c ->> -1)::int) AS used
               FROM messages, jsonb_array_elements(counted) c GROUP BY 1) m ON d.key = m.key
 WHERE coalesce(d.used, 0) <> coalesce(m.used, 0)
"""
