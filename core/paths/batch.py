"""Candidates for admission, and the columns in which a batch of them reaches the SQL function `admit_v1`.

The function's own comment (db/migrations/0003_admission.sql) describes the columns. Everything that repeats within a
batch (credentials, recipients, counters) is sent once and referred to by number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from core.decisions import Deny, Exempt, Quota, Said
from core.model import PRIORITIES
from core.windows import window

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from core.decisions import Verdict
    from core.model import Outgoing

DAILY = "daily_limit"
"""The quota of this name, per recipient and day, counts in the seed's table daily_limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A message with all that admission needs to know. `gaps` are (plugin, milliseconds); `key` is the digest to
    check again; `fingerprint` is there when the message has a client_ref."""

    message: Outgoing
    verdict: Verdict
    gaps: tuple[tuple[str, int], ...]
    zone: ZoneInfo
    at: datetime
    key: str | None = None
    fingerprint: str | None = None


class _Numbered(dict[Any, int]):
    """Distinct values, numbered from 1 in the order of their first appearance."""

    def __missing__(self, value: Any) -> int:
        self[value] = number = len(self) + 1
        return number


@dataclass(slots=True)
class Batch:
    """The columns of `admit_v1`."""

    candidates: Sequence[Candidate]
    columns: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        daily = {n: i for i, n in enumerate(sorted({s for c in self.candidates for s in _slots(c) if len(s) == 3}), 1)}
        counters = {
            n: i for i, n in enumerate(sorted({s for c in self.candidates for s in _slots(c) if len(s) == 5}), 1)
        }
        keys, subjects = _Numbered(), _masks(self.candidates)
        self.columns = {
            "key": [keys[c.message.tenant, c.key] for c in self.candidates],
            "keys": list(keys),
            "subject": [subjects.get((c.message.tenant, c.message.to), (0, 0))[0] for c in self.candidates],
            "subjects": [(*subject, mask) for subject, (_, mask) in subjects.items()],
            "daily": list(daily),
            "counters": list(counters),
            "rows": [_row(c) for c in self.candidates],
            "waive": _waive(self.candidates),
            "gap": _gap(self.candidates),
            "quota": _quota(self.candidates, daily, counters),
        }

    def encoded(self) -> str:
        """The batch as JSON text."""
        return msgspec.json.encode(self.columns).decode()


def _row(candidate: Candidate) -> dict[str, Any]:
    m = candidate.message
    return {
        "id": m.id,
        "tenant": m.tenant,
        "to": m.to,
        "kind": m.kind,
        "content": m.content,
        "reply_to": m.reply_to,
        "mentions": m.mentions,
        "client_ref": m.client_ref,
        "fingerprint": candidate.fingerprint,
        "answers": m.answers,
        "priority": PRIORITIES.index(m.priority) + 1,
        "send_at": m.send_at,
        "expires_at": m.expires_at,
        "explanation": {"said": _told(candidate.verdict.said), "gaps": dict(candidate.gaps)},
    }


def _masks(candidates: Sequence[Candidate]) -> dict[tuple[str, str], tuple[int, int]]:
    """(tenant, recipient) -> (its number, the lists in which it matters)."""
    masks: dict[tuple[str, str], tuple[int, int]] = {}
    for c in candidates:
        mask = 0
        for decision in (*c.verdict.waived_when, *c.verdict.quotas):
            mask |= decision.when.value if decision.when else 0
        if mask:
            subject = (c.message.tenant, c.message.to)
            number, before = masks.get(subject, (len(masks) + 1, 0))
            masks[subject] = number, before | mask
    return masks


def _waive(candidates: Sequence[Candidate]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {"row": [], "name": [], "mask": []}
    for row, c in enumerate(candidates, 1):
        always = [(name, 0) for name in sorted(c.verdict.waived)]
        for name, mask in always + [(n, e.when.value) for e in c.verdict.waived_when if e.when for n in e.names]:
            columns["row"].append(row)
            columns["name"].append(name)
            columns["mask"].append(mask)
    return columns


def _gap(candidates: Sequence[Candidate]) -> dict[str, list[Any]]:
    pairs = [(row, name, ms) for row, c in enumerate(candidates, 1) for name, ms in c.gaps]
    return {"row": [p[0] for p in pairs], "name": [p[1] for p in pairs], "ms": [p[2] for p in pairs]}


def _quota(
    candidates: Sequence[Candidate], daily: dict[tuple[Any, ...], int], counters: dict[tuple[Any, ...], int]
) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {k: [] for k in ("row", "name", "slot", "limit", "cost", "mask", "about")}
    for row, c in enumerate(candidates, 1):
        for quota in c.verdict.quotas:
            slot = slot_of(quota, c)
            columns["row"].append(row)
            columns["name"].append(quota.name)
            columns["slot"].append(daily[slot] if len(slot) == 3 else -counters[slot])
            columns["limit"].append(quota.limit)
            columns["cost"].append(quota.cost)
            columns["mask"].append(quota.when.value if quota.when else 0)
            columns["about"].append(
                {"period": quota.period, "per": quota.per, "resets_at": window(quota.period, counted_at(c), c.zone).end}
            )
    return columns


def counted_at(candidate: Candidate) -> datetime:
    """A scheduled message counts at the time of its sending."""
    return max(candidate.message.send_at or candidate.at, candidate.at)


def slot_of(quota: Quota, candidate: Candidate) -> tuple[Any, ...]:
    """Which counter: (tenant, recipient, date) of daily_limits, or (tenant, name, period, subject, window) of
    quota_counters."""
    message, span = candidate.message, window(quota.period, counted_at(candidate), candidate.zone)
    if quota.name == DAILY and quota.per == "recipient" and quota.period == "day":
        return message.tenant, message.to, span.day.isoformat()
    subject = message.to if quota.per == "recipient" else ""
    return message.tenant, quota.name, quota.period, subject, span.start.isoformat()


def _slots(candidate: Candidate) -> list[tuple[Any, ...]]:
    return [slot_of(quota, candidate) for quota in candidate.verdict.quotas]


@lru_cache(maxsize=1024)
def _told(said: tuple[Said, ...]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode([tell(s) for s in said]))


def tell(said: Said) -> dict[str, Any]:
    """One plugin's say, for people and programs: {plugin, decision, …}."""
    decision = said.decision
    match decision:
        case Deny():
            about = {"decision": "deny", "code": decision.code, "message": decision.message}
            return {"plugin": said.plugin, **about, "retry_after": decision.retry_after}
        case Quota():
            about = {"decision": "quota", "name": decision.name or said.plugin, "limit": decision.limit}
            return {"plugin": said.plugin, **about, "period": decision.period, "per": decision.per,
                    "cost": decision.cost, "when": _when(decision)}  # fmt: skip
        case Exempt():
            return {"plugin": said.plugin, "decision": "exempt", "names": list(decision.names), "when": _when(decision)}


def _when(decision: Quota | Exempt) -> list[str] | None:
    if decision.when is None:
        return None
    return [member.name.lower() for member in decision.when if member.name]
