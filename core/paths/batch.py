"""Candidates for admission, and the columns in which a batch of them reaches the SQL function `admit_v1`.

The function's own comment (db/migrations/0003_admission.sql) describes the columns. Everything that repeats within a
batch (credentials, recipients, counters, explanations) is sent once and referred to by number.
"""

from __future__ import annotations

from datetime import date, datetime
from functools import lru_cache, reduce
from operator import or_
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from core.decisions import Deny, Exempt, Quota, Said
from core.model import PRIORITIES
from core.windows import window

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from zoneinfo import ZoneInfo

    from core.decisions import Decision, Verdict
    from core.model import Outgoing

DAILY = "daily_limit"
"""The quota of this name, per recipient and day, counts in the seed's table daily_limits."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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
    day: date


class Slot(NamedTuple):
    """A row of quota_counters."""

    tenant: str
    name: str
    period: str
    subject: str
    start: datetime


def encode(candidates: Sequence[Candidate]) -> str:
    """The batch as JSON text."""
    batch = _Batch()
    for row, candidate in enumerate(candidates, 1):
        batch.add(row, candidate)
    return msgspec.json.encode(batch.columns()).decode()


class _Numbered(dict[Any, int]):
    """Distinct values, numbered from 1 in the order of their first appearance."""

    def __missing__(self, value: Any) -> int:
        self[value] = number = len(self) + 1
        return number


class _Policy(NamedTuple):
    """A verdict in numbers: what is the same for every message of the batch that has it. `lists` are those in which the
    recipient's membership matters; `waives` are (name, mask), `quotas` (quota, name, mask)."""

    explanation: int
    lists: int
    denies: tuple[int, ...]
    waives: tuple[tuple[int, int], ...]
    quotas: tuple[tuple[Quota, int, int], ...]


class _Message(msgspec.Struct, omit_defaults=True, gc=False):
    """A row. What is absent is NULL there; most messages have none of the last ones."""

    id: str
    tenant: str
    to: str
    kind: str
    content: str
    mentions: tuple[str, ...]
    priority: int
    expires_at: datetime
    gaps: dict[str, int]
    explanation: int
    reply_to: str | None = None
    client_ref: str | None = None
    answers: str | None = None
    send_at: datetime | None = None
    fingerprint: str | None = None


class _Batch:
    """The columns, filled row by row."""

    def __init__(self) -> None:
        self._names, self._keys, self._explanations = _Numbered(), _Numbered(), _Numbered()
        self._policies: dict[int, _Policy] = {}  # by the verdict's id(): the candidates keep their verdicts alive
        self._lists: dict[tuple[str, str], int] = {}
        self._subjects = _Numbered()
        self._rows: list[_Message] = []
        self._key: list[int] = []
        self._subject: list[int] = []
        self._deny: list[tuple[int, int]] = []
        self._waive: list[tuple[int, int, int]] = []
        self._gap: list[tuple[int, int, int]] = []
        self._quota: list[tuple[int, Quota, int, int, DailySlot | Slot, datetime]] = []

    def add(self, row: int, candidate: Candidate) -> None:
        """The next row."""
        message, verdict = candidate.message, candidate.verdict
        policy = self._policies.get(id(verdict)) or self._learn(verdict)
        self._rows.append(_message(candidate, policy.explanation))
        self._key.append(self._keys[message.tenant, candidate.key])
        self._subject.append(self._number_of(message, policy.lists) if policy.lists else 0)
        for mask in policy.denies:
            self._deny.append((row, mask))
        for name, mask in policy.waives:
            self._waive.append((row, name, mask))
        for plugin, milliseconds in candidate.gaps:
            self._gap.append((row, self._names[plugin], milliseconds))
        for quota, name, mask in policy.quotas:
            self._quota.append((row, quota, name, mask, *slot_of(quota, candidate)))

    def _learn(self, verdict: Verdict) -> _Policy:
        conditional: tuple[Decision, ...] = (*verdict.denied_when, *verdict.waived_when, *verdict.quotas)
        always = [(self._names[name], 0) for name in sorted(verdict.waived)]
        listed = [(self._names[name], _mask(exempt)) for exempt in verdict.waived_when for name in exempt.names]
        self._policies[id(verdict)] = policy = _Policy(
            explanation=self._explanations[verdict.said],
            lists=reduce(or_, map(_mask, conditional), 0),
            denies=tuple(map(_mask, verdict.denied_when)),
            waives=(*always, *listed),
            quotas=tuple((quota, self._names[quota.name], _mask(quota)) for quota in verdict.quotas),
        )
        return policy

    def _number_of(self, message: Outgoing, lists: int) -> int:
        subject = message.tenant, message.to
        self._lists[subject] = self._lists.get(subject, 0) | lists
        return self._subjects[subject]

    def columns(self) -> dict[str, Any]:
        """As `admit_v1` takes them. Counters are sorted, so that all processes lock them in one order."""
        slots = {slot for *_, slot, _ in self._quota}
        daily = sorted(slot for slot in slots if isinstance(slot, DailySlot))
        counters = sorted(slot for slot in slots if isinstance(slot, Slot))
        numbers: dict[DailySlot | Slot, int] = {slot: n for n, slot in enumerate(daily, 1)}
        numbers |= {slot: -n for n, slot in enumerate(counters, 1)}
        quotas = [
            (row, name, numbers[slot], quota.limit, quota.cost, mask, _iso(resets_at))
            for row, quota, name, mask, slot, resets_at in self._quota
        ]
        # What each would count, as `messages.counted` keeps it.
        counted = [msgspec.json.encode((*slot, quota.cost)).decode() for _, quota, _, _, slot, _ in self._quota]
        return {
            "key": _literal(self._key),
            "subject": _literal(self._subject),
            "deny": _literals(self._deny, "row", "mask"),
            "waive": _literals(self._waive, "row", "name", "mask"),
            "gap": _literals(self._gap, "row", "name", "ms"),
            "quota": _literals(quotas, "row", "name", "slot", "limit", "cost", "mask", "resets_at")
            | {"counted": counted},
            "rows": self._rows,
            "keys": list(self._keys),
            "subjects": [(*subject, self._lists[subject]) for subject in self._subjects],
            "daily": [slot._asdict() for slot in daily],
            "counters": [slot._asdict() for slot in counters],
            "explanations": [_told(said) for said in self._explanations],
            "names": list(self._names),
        }


def _message(candidate: Candidate, explanation: int) -> _Message:
    m = candidate.message
    return _Message(
        m.id,
        m.tenant,
        m.to,
        m.kind,
        m.content,
        m.mentions,
        PRIORITIES.index(m.priority) + 1,
        m.expires_at,
        dict(candidate.gaps),
        explanation,
        m.reply_to,
        m.client_ref,
        m.answers,
        m.send_at,
        candidate.fingerprint,
    )


def _mask(decision: Decision) -> int:
    return decision.when.value if decision.when else 0


def _literals(rows: Sequence[tuple[Any, ...]], *names: str) -> dict[str, str]:
    """Rows as columns, each an array literal."""
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return dict(zip(names, map(_literal, columns), strict=True))


def _literal(values: Iterable[Any]) -> str:
    return "{" + ",".join(map(str, values)) + "}"


_iso = lru_cache(maxsize=256)(datetime.isoformat)


def slot_of(quota: Quota, candidate: Candidate) -> tuple[DailySlot | Slot, datetime]:
    """Which counter the quota counts in, and when that begins anew. A scheduled message counts at the time of its
    sending."""
    message, at = candidate.message, candidate.at
    span = window(quota.period, max(message.send_at, at) if message.send_at else at, candidate.zone)
    if quota.name == DAILY and quota.per == "recipient" and quota.period == "day":
        return DailySlot(message.tenant, message.to, span.day), span.end
    subject = message.to if quota.per == "recipient" else ""
    return Slot(message.tenant, quota.name, quota.period, subject, span.start), span.end


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
