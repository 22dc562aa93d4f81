"""What the database tells of outgoing messages: decided, claimed, looked up.

What is made for every request is a tuple with names: a frozen dataclass takes several times as long to make.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003 - Outcome and Usage are decoded from JSON, by their types
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from core.model import Status  # noqa: TC001 - as above

if TYPE_CHECKING:
    from core.model import Outgoing, Priority


class Usage(NamedTuple):
    """How much of a quota is used; `used` includes the message it is told with, when that was queued."""

    name: str
    limit: int
    used: int
    resets_at: datetime


class Outcome(NamedTuple):
    """What admission decided. `quota` is the daily limit, or with `over` the quota that was used up; `denied` tells
    which of the verdict's `denied_when` holds, counted from 1."""

    outcome: Literal["queued", "replayed", "conflict", "revoked", "over", "denied"]
    message_id: str
    status: Status | None
    expected_at: datetime | None
    ahead: int | None
    quota: Usage | None
    waived: tuple[str, ...]
    denied: int | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that is ours to send now. `secret`: of this attempt, to be carried by the message; None for one that
    does not go through WhatsApp."""

    message: Outgoing
    secret: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing may go for `seconds`, unless something more urgent comes. `to`: who is next, when all that is missing is
    the gap."""

    seconds: float
    to: str | None = None


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message with all that was decided and all that happened. `gap_ms`: the gap chosen; `gaps`: what each plugin
    asked for; `waived`: the quotas and gaps it was exempt from; `explanation`: what each plugin said;
    `history`: [{status, at, cause}…], oldest first."""

    id: str
    status: Status
    to: str
    kind: str
    content: str
    reply_to: str | None
    mentions: list[str]
    client_ref: str | None
    priority: Priority
    answers: str | None
    cause: str | None
    created_at: datetime
    send_at: datetime
    expires_at: datetime
    expected_at: datetime
    sent_at: datetime | None
    ahead: int
    gap_ms: int
    gaps: dict[str, int]
    waived: list[str]
    explanation: list[dict[str, Any]]
    history: list[dict[str, Any]]
    wa_id: str | None
    quota: Usage | None
