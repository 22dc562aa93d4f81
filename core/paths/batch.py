"""Candidates for admission, and the columns in which a batch of them reaches the SQL function `admit_v1`.

The function's own comment (db/migrations/0003_admission.sql) describes the columns. Everything that repeats within a
batch (credentials, recipients, counters, explanations) is sent once and referred to by number.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from core.decisions import Deny, Exempt, Quota, Said
from core.model import PRIORITIES
from core.windows import window

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from core.decisions import Decision, Verdict
    from core.model import Outgoing

DAILY = "daily_limit"
"""The quota of this name, per recipient and day, counts in the seed's table daily_limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A message with all that admission needs to know. `gaps` are (plugin, milliseconds); `key` is the digest to check
    again; `at` is when it came; `fingerprint` is there when the message has a client_ref."""

    message: Outgoing
    verdict: Verdict
    gaps: tuple[tuple[str, int], ...]
    zone: ZoneInfo
    at: datetime
    key: str | None = None
    fingerprint: str | None = None


class DailySlot(NamedTuple):
    """A row of daily_limits."""

    tenant: str
    recipient: str
    day: str


class Slot(NamedTuple):
    """A row of quota_counters."""

    tenant: str
    name: str
    period: str
    subject: str
    start: str


class _Numbered(dict[Any, int]):
    """Distinct values, numbered from 1 in the order of their first appearance."""

    def __missing__(self, value: Any) -> int:
        self[value] = number = len(self) + 1
        return number


class _Columns(dict[str, list[Any]]):
    """Equally long columns, filled row by row."""

    def __init__(self, *names: str) -> None:
        super().__init__({name: [] for name in names})

    def add(self, *values: Any) -> None:
        for column, value in zip(self.values(), values, strict=True):
            column.append(value)

    def literals(self) -> dict[str, str]:
        return {name: _literal(column) for name, column in self.items()}


def _literal(numbers: Iterable[Any]) -> str:
    return "{" + ",".join(map(str, numbers)) + "}"


def encode(candidates: Sequence[Candidate]) -> str:
    """The batch as JSON text."""
    names, keys, explanations = _Numbered(), _Numbered(), _Numbered()
    subjects = _masks(candidates)
    quota, counted, daily, counters = _quota(candidates, names)
    columns = {
        "key": _literal([keys[c.message.tenant, c.key] for c in candidates]),
        "subject": _literal([subjects.get((c.message.tenant, c.message.to), (0, 0))[0] for c in candidates]),
        "deny": _deny(candidates).literals(),
        "waive": _waive(candidates, names).literals(),
        "gap": _gap(candidates, names).literals(),
        "quota": quota.literals() | {"counted": counted},
        "rows": [_row(c, explanations[c.verdict.said]) for c in candidates],
        "keys": list(keys),
        "subjects": [(*subject, mask) for subject, (_, mask) in subjects.items()],
        "daily": [slot._asdict() for slot in daily],
        "counters": [slot._asdict() for slot in counters],
        "explanations": [_told(said) for said in explanations],
        "names": list(names),
    }
    return msgspec.json.encode(columns).decode()


def _row(candidate: Candidate, explanation: int) -> dict[str, Any]:
    m = candidate.message
    row: dict[str, Any] = {
        "id": m.id,
        "tenant": m.tenant,
        "to": m.to,
        "kind": m.kind,
        "content": m.content,
        "mentions": m.mentions,
        "priority": PRIORITIES.index(m.priority) + 1,
        "expires_at": m.expires_at,
        "gaps": dict(candidate.gaps),
        "explanation": explanation,
    }
    # What is absent is NULL there; most messages have none of these.
    for name in ("reply_to", "client_ref", "answers", "send_at"):
        if (value := getattr(m, name)) is not None:
            row[name] = value
    if candidate.fingerprint is not None:
        row["fingerprint"] = candidate.fingerprint
    return row


def _mask(decision: Decision) -> int:
    return decision.when.value if decision.when else 0


def _masks(candidates: Sequence[Candidate]) -> dict[tuple[str, str], tuple[int, int]]:
    """(tenant, recipient) -> (its number, the lists in which its membership matters)."""
    masks: dict[tuple[str, str], tuple[int, int]] = {}
    for c in candidates:
        mask = 0
        conditional: tuple[Decision, ...] = (*c.verdict.denied_when, *c.verdict.waived_when, *c.verdict.quotas)
        for decision in conditional:
            mask |= _mask(decision)
        if mask:
            subject = (c.message.tenant, c.message.to)
            number, before = masks.get(subject, (len(masks) + 1, 0))
            masks[subject] = number, before | mask
    return masks


def _deny(candidates: Sequence[Candidate]) -> _Columns:
    columns = _Columns("row", "mask")
    for row, c in enumerate(candidates, 1):
        for deny in c.verdict.denied_when:
            columns.add(row, _mask(deny))
    return columns


def _waive(candidates: Sequence[Candidate], names: _Numbered) -> _Columns:
    columns = _Columns("row", "name", "mask")
    for row, c in enumerate(candidates, 1):
        for name in sorted(c.verdict.waived):
            columns.add(row, names[name], 0)
        for exempt in c.verdict.waived_when:
            for name in exempt.names:
                columns.add(row, names[name], _mask(exempt))
    return columns


def _gap(candidates: Sequence[Candidate], names: _Numbered) -> _Columns:
    columns = _Columns("row", "name", "ms")
    for row, c in enumerate(candidates, 1):
        for name, milliseconds in c.gaps:
            columns.add(row, names[name], milliseconds)
    return columns


def _quota(
    candidates: Sequence[Candidate], names: _Numbered
) -> tuple[_Columns, list[str], list[DailySlot], list[Slot]]:
    """The quotas; what each would count, as `messages.counted` keeps it; and both kinds of counters, sorted, so that
    all processes lock them in one order."""
    found = [(row, q, *slot_of(q, c)) for row, c in enumerate(candidates, 1) for q in c.verdict.quotas]
    daily = sorted({slot for *_, slot, _ in found if isinstance(slot, DailySlot)})
    counters = sorted({slot for *_, slot, _ in found if isinstance(slot, Slot)})
    numbers: dict[DailySlot | Slot, int] = {slot: n for n, slot in enumerate(daily, 1)}
    numbers |= {slot: -n for n, slot in enumerate(counters, 1)}
    columns, counted = _Columns("row", "name", "slot", "limit", "cost", "mask", "resets_at"), []
    for row, q, slot, resets_at in found:
        columns.add(row, names[q.name], numbers[slot], q.limit, q.cost, _mask(q), resets_at)
        counted.append(msgspec.json.encode((*slot, q.cost)).decode())
    return columns, counted, daily, counters


def slot_of(quota: Quota, candidate: Candidate) -> tuple[DailySlot | Slot, str]:
    """Which counter the quota counts in, and when that begins anew (ISO 8601). A scheduled message counts at the
    time of its sending."""
    message = candidate.message
    span = window(quota.period, max(message.send_at or candidate.at, candidate.at), candidate.zone)
    resets_at = span.end.isoformat()
    if quota.name == DAILY and quota.per == "recipient" and quota.period == "day":
        return DailySlot(message.tenant, message.to, span.day.isoformat()), resets_at
    subject = message.to if quota.per == "recipient" else ""
    return Slot(message.tenant, quota.name, quota.period, subject, span.start.isoformat()), resets_at


@lru_cache(maxsize=1024)
def _told(said: tuple[Said, ...]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode([tell(s) for s in said]))


def tell(said: Said) -> dict[str, Any]:
    """One plugin's say, for people and programs: {plugin, decision, …}."""
    decision = said.decision
    told: dict[str, Any] = {"plugin": said.plugin, "decision": type(decision).__name__.lower()}
    match decision:
        case Deny():
            about = {"code": decision.code, "message": decision.message, "retry_after": decision.retry_after}
            return told | about | {"when": _when(decision)}
        case Exempt():
            return told | {"names": list(decision.names), "when": _when(decision)}
        case Quota():
            counts = {"name": decision.name or said.plugin, "limit": decision.limit, "period": decision.period}
            return told | counts | {"per": decision.per, "cost": decision.cost, "when": _when(decision)}


def _when(decision: Decision) -> list[str] | None:
    if decision.when is None:
        return None
    return [member.name.lower() for member in decision.when if member.name]
