"""What a plugin may say about an outgoing message, and how everybody's says become one verdict.

Decisions are data; `merge` is pure and does not depend on order: a Deny that holds beats an Exempt, an Exempt beats a
Quota, and all quotas that remain must fit or none is counted. The only enforcer is the SQL function of db/migrations/.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Flag, auto
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Period = Literal["minute", "hour", "day", "week", "month"]
Per = Literal["recipient", "tenant"]


class Listed(Flag):
    """Where the recipient must stand for a decision to hold; looked up inside the admission statement, so that a list
    of a million numbers stays in its table. Combine with `|`: in any of them."""

    WHITELIST = auto()
    """the tenant's whitelist"""
    REPLY = auto()
    """the recipient wrote to the tenant within the last 24 hours"""
    OPT_OUT = auto()
    """the recipient asked the tenant for no more messages"""


@dataclass(frozen=True, slots=True)
class Deny:
    """Refuse: 403, or 429 when `retry_after` (seconds) is given. `code` becomes the problem's code."""

    code: str
    message: str
    retry_after: float | None = None
    when: Listed | None = None


@dataclass(frozen=True, slots=True)
class Quota:
    """At most `limit` messages per recipient or per tenant in each `period` of the tenant's calendar, counted exactly,
    also with many gateways at once. `name` defaults to the plugin's name; `cost` is what one message counts."""

    limit: int
    name: str = ""
    period: Period = "day"
    per: Per = "recipient"
    cost: int = 1
    when: Listed | None = None

    def __post_init__(self) -> None:
        if self.limit < 0 or self.cost < 1:
            raise ValueError(f"a Quota needs limit >= 0 and cost >= 1, not limit={self.limit}, cost={self.cost}")


@dataclass(frozen=True, slots=True)
class Exempt:
    """Waive the quotas and the gaps of the plugins or quotas named."""

    names: tuple[str, ...]
    when: Listed | None = None

    def __post_init__(self) -> None:
        if isinstance(self.names, str):
            raise TypeError(f"Exempt takes a tuple of names: Exempt(({self.names!r},))")


Decision = Deny | Quota | Exempt


@dataclass(frozen=True, slots=True)
class Said:
    """One plugin's decision, kept with the message as its explanation."""

    plugin: str
    decision: Decision


@dataclass(frozen=True, slots=True)
class Verdict:
    """All says together. `quotas` have names and are free of what is waived without condition; the first of
    `denied_when` that holds refuses, whatever is waived."""

    deny: Deny | None
    denied_when: tuple[Deny, ...]
    quotas: tuple[Quota, ...]
    waived: frozenset[str]
    waived_when: tuple[Exempt, ...]
    said: tuple[Said, ...]


def merge(said: Iterable[Said]) -> Verdict:
    """One verdict of all that was said; equal for every order of the same decisions (but for `said` itself)."""
    return _merged(tuple(said))


@lru_cache(maxsize=1024)
def _merged(said: tuple[Said, ...]) -> Verdict:
    denies = sorted({s.decision for s in said if isinstance(s.decision, Deny)}, key=_deny_order)
    exempts = [s.decision for s in said if isinstance(s.decision, Exempt)]
    quotas = {
        replace(s.decision, name=s.decision.name or s.plugin) for s in said if isinstance(s.decision, Quota)
    }  # fmt: skip
    waived = frozenset(name for e in exempts if e.when is None for name in e.names)
    return Verdict(
        deny=next((d for d in denies if d.when is None), None),
        denied_when=tuple(d for d in denies if d.when is not None),
        quotas=tuple(sorted((q for q in quotas if q.name not in waived), key=_quota_order)),
        waived=waived,
        waived_when=tuple(sorted({e for e in exempts if e.when is not None}, key=_exempt_order)),
        said=said,
    )


def _deny_order(deny: Deny) -> tuple[bool, str, str, float, int]:
    """A final no before one that says when to come back."""
    after = deny.retry_after
    return after is not None, deny.code, deny.message, after or 0.0, deny.when.value if deny.when else 0


def _quota_order(quota: Quota) -> tuple[str, str, str, int, int, int]:
    return quota.name, quota.per, quota.period, quota.limit, -quota.cost, quota.when.value if quota.when else 0


def _exempt_order(exempt: Exempt) -> tuple[int, tuple[str, ...]]:
    return exempt.when.value if exempt.when else 0, exempt.names
