"""Candidates for admission, and the columns in which a batch of them reaches the SQL function `admit_v2`.

The function's own comment (db/migrations/0015_admission.sql) describes the columns. What repeats within a batch
(tenants, credentials, counters, explanations) is sent once and referred to by number.
"""

from __future__ import annotations

from datetime import date, datetime
from functools import lru_cache, reduce
from itertools import count
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


class _Batch:
    """The columns, filled row by row."""

    def __init__(self) -> None:
        self._tenants, self._names, self._keys, self._explanations = _Numbered(), _Numbered(), _Numbered(), _Numbered()
        self._policies: dict[int, _Policy] = {}  # by the verdict's id(): the candidates keep their verdicts alive
        self._rows: list[tuple[Any, ...]] = []
        self._deny: list[tuple[int, int]] = []
        self._waive: list[tuple[int, int, int]] = []
        self._gap: list[tuple[int, int, int]] = []
        self._quota: list[tuple[int, int, DailySlot | Slot, int, int, int, str]] = []
        self._slots: set[DailySlot | Slot] = set()

    def add(self, row: int, candidate: Candidate) -> None:
        """The next row."""
        m, verdict = candidate.message, candidate.verdict
        policy = self._policies.get(id(verdict)) or self._learn(verdict)
        owner = self._tenants[m.tenant]
        key = self._keys[owner, candidate.key]
        priority = _PRIORITIES[m.priority]
        always = (m.id, owner, key, m.to, m.kind, m.content, priority, m.expires_at, dict(candidate.gaps))
        seldom = (m.client_ref, candidate.fingerprint, m.send_at, m.reply_to, m.answers, m.mentions)
        self._rows.append((*always, policy.explanation, policy.lists, *seldom))
        for mask in policy.denies:
            self._deny.append((row, mask))
        for name, mask in policy.waives:
            self._waive.append((row, name, mask))
        for plugin, milliseconds in candidate.gaps:
            self._gap.append((row, self._names[plugin], milliseconds))
        for quota, name, mask in policy.quotas:
            slot, resets_at = slot_of(quota, candidate)
            self._slots.add(slot)
            self._quota.append((row, name, slot, quota.limit, quota.cost, mask, _iso(resets_at)))

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

    def columns(self) -> dict[str, Any]:
        """As `admit_v2` takes them."""
        columns = {
            **self._of_messages(),
            **self._of_counters(),
            **_literals(self._deny, "deny_row", "deny_mask"),
            **_literals(self._waive, "waive_row", "waive_name", "waive_mask"),
            **_literals(self._gap, "gap_row", "gap_name", "gap_ms"),
            "explanations": [_told(said) for said in self._explanations],
            "names": list(self._names),
        }
        columns["key_tenant"], columns["key_digest"] = zip(*self._keys, strict=True)
        columns["tenants"] = list(self._tenants)
        return columns

    def _of_messages(self) -> dict[str, Any]:
        columns: dict[str, Any] = dict(zip(_ROW, zip(*self._rows, strict=True), strict=True))
        for name in _LITERALS:
            columns[name] = _literal(columns[name])
        for name in _SELDOM:
            if not any(columns[name]):
                del columns[name]
        return columns

    def _of_counters(self) -> dict[str, Any]:
        """What quotas count in, and the quotas. Counters are sorted, so that all processes lock them in one order."""
        daily = sorted(slot for slot in self._slots if type(slot) is DailySlot)
        counters = sorted(slot for slot in self._slots if type(slot) is Slot)
        columns = {
            **self._columns(daily, "daily_tenant", "daily_recipient", "daily_day"),
            **self._columns(
                counters, "counter_tenant", "counter_name", "counter_period", "counter_subject", "counter_start"
            ),
            "quota_counted": [((*slot, cost),) for _, _, slot, _, cost, _, _ in self._quota],  # as `messages.counted`
        }
        if self._quota:
            numbers: dict[DailySlot | Slot, int] = dict(zip(daily, count(1), strict=False))
            numbers.update(zip(counters, count(-1, -1), strict=False))
            rows, names, slots, *others = zip(*self._quota, strict=True)
            columns |= zip(_QUOTA, map(_literal, (rows, names, map(numbers.__getitem__, slots), *others)), strict=True)
        return columns

    def _columns(self, slots: Sequence[DailySlot | Slot], *names: str) -> dict[str, Any]:
        """Counters as columns; their tenants as numbers."""
        if not slots:
            return {}
        tenants, *others = zip(*slots, strict=True)
        return dict(zip(names, ([self._tenants[tenant] for tenant in tenants], *others), strict=True))


_QUOTA = (
    "quota_row", "quota_name", "quota_slot", "quota_limit", "quota_cost", "quota_mask", "quota_resets_at",
)  # fmt: skip
"""The columns of `_Batch._quota`."""

_PRIORITIES = {name: number for number, name in enumerate(PRIORITIES, 1)}

_SELDOM = ("client_refs", "fingerprints", "send_ats", "replies", "answered", "mentions")
"""Columns that are left out when no message of the batch has one."""

_ROW = (
    "ids", "owners", "keys", "recipients", "kinds", "contents", "priorities", "expiries", "gaps", "says", "lists",
    *_SELDOM,
)  # fmt: skip
"""The columns of `_Batch._rows`."""

_LITERALS = ("ids", "owners", "keys", "priorities", "says", "lists")


def _mask(decision: Decision) -> int:
    return decision.when.value if decision.when else 0


def _literals(rows: Sequence[tuple[Any, ...]], *names: str) -> dict[str, str]:
    """Rows as columns, each an array literal; nothing when there are none."""
    return dict(zip(names, map(_literal, zip(*rows, strict=True)), strict=True)) if rows else {}


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
