"""The door: a request becomes a decided, durable message, or a refusal that says why.

SendRequest -> normalised -> prepare_outgoing -> admit -> merge -> pace -> Batcher (one round trip) -> Admitted
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from uuid_utils import uuid7

from core import jid
from core.decisions import Deny, Exempt, Listed, Quota, Said, merge
from core.errors import BadRequest, Conflict, Forbidden, OverLimit, Unauthorized, Unprocessable
from core.filling import filling
from core.hooks.answers import LONGEST_CONTENT, storable
from core.model import Outgoing
from core.paths.batch import Candidate, encode, tell

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from core.clock import Clock
    from core.decisions import Decision, Verdict
    from core.hooks.dispatch import Hooks
    from core.model import Priority, Status
    from core.outbox import Outcome, Usage
    from core.paths.batcher import Batcher
    from core.settings import TenantSettings
    from core.tenants import Tenants
    from db.store import Store

LIFETIME = timedelta(hours=24)
"""How long a message may wait to be sent, unless the caller says otherwise."""

FARTHEST = timedelta(days=365)
"""How far ahead a message may be scheduled, and how long it may live."""

DEFAULT_GAP = 5.0
"""Seconds that a plugin is taken to ask for when its `pace` fails: fail slow."""

REPLY_LIMIT = Quota(20, name="reply_guard", period="minute")
"""Two bots must not talk for ever."""

_CORE = "core"
_outgoing = filling(Outgoing)
_NOTHING_SAID: tuple[list[tuple[str, Decision]], Verdict] = [], merge(())
_DENIED_TOO = Deny("denied", "refused like the equal request that came with it")


class SendRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What somebody wants sent. `number` as people write it; `expires_in` seconds; `answers`: a bot replies to that
    incoming message; `author`: the plugin that sends it; `id`: given where the same request may come twice by
    design."""

    number: str
    message: str
    client_ref: str | None = None
    priority: Priority = "normal"
    send_at: datetime | None = None
    expires_in: float | None = None
    reply_to: str | None = None
    mentions: tuple[str, ...] = ()
    transactional: bool = False
    answers: str | None = None
    author: str | None = None
    id: str | None = None


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """A stored message. `replayed`: an earlier request with the same key stored it."""

    id: str
    status: Status
    to: str
    expected_at: datetime | None
    ahead: int
    quota: Usage | None
    replayed: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """What admission would do. `refusal`: (HTTP status, code, detail), or None when the message would be queued.
    `explanation`: what each plugin said; `gaps`: seconds per plugin; `waived`: names of quotas and gaps."""

    to: str
    refusal: tuple[int, str, str] | None
    expected_at: datetime | None
    ahead: int | None
    quota: Usage | None
    waived: tuple[str, ...]
    gaps: dict[str, float]
    explanation: list[dict[str, Any]]


class Admission:
    """Lets messages in, for everybody: HTTP, command line, plugins and bots."""

    def __init__(  # noqa: PLR0913 - the composition root hands everything over once
        self,
        store: Store,
        tenants: Tenants,
        batcher: Batcher,
        clock: Clock,
        *,
        expectable: Callable[[str], bool],
        on_admitted: Callable[[Outgoing], None],
    ) -> None:
        """`expectable(tenant)`: whether a time of sending can be promised; `on_admitted(message)` is told of every new
        message, at once."""
        self._store, self._tenants, self._batcher, self._clock = store, tenants, batcher, clock
        self._expectable, self._on_admitted = expectable, on_admitted
        self._previous: dict[str, Outgoing] = {}
        self._verdicts: dict[str, tuple[list[tuple[str, Decision]], Verdict]] = {}

    async def send(self, tenant: str, key: str | None, request: SendRequest) -> Admitted:
        """Store the message, or find it stored. `key`: the caller's key digest, checked again in the same round trip.

        Raises Refused (with the reason), PluginFailed (policy is unknown: fail closed) or Unavailable."""
        candidate = await self._decide(tenant, key, request)
        if candidate.verdict.deny is not None:
            return await self._replay_or_refuse(candidate, candidate.verdict.deny)
        outcome = await self._batcher.submit(candidate)
        return self._admitted(candidate, outcome)

    async def preview(self, tenant: str, key: str | None, request: SendRequest) -> Preview:
        """What `send` would do with the request; nothing stays. Raises as `send` does for what is not policy."""
        candidate = await self._decide(tenant, key, msgspec.structs.replace(request, client_ref=None))
        [outcome] = await self._store.preview(encode([candidate]))
        refusal: Forbidden | OverLimit | None = None
        if candidate.verdict.deny is not None:
            refusal = _denied(candidate.verdict.deny)
        elif outcome.outcome == "denied":
            refusal = _denied(_that_holds(candidate, outcome))
        elif outcome.outcome == "over":
            refusal = self._over(candidate, outcome)
        elif outcome.outcome == "revoked":
            raise _revoked()
        return Preview(
            to=candidate.message.to,
            refusal=(refusal.status, refusal.code, refusal.detail) if refusal else None,
            expected_at=None if refusal else self._promise(tenant, outcome.expected_at),
            ahead=None if refusal else outcome.ahead,
            quota=outcome.quota,
            waived=outcome.waived,
            gaps={plugin: milliseconds / 1000 for plugin, milliseconds in candidate.gaps},
            explanation=[tell(said) for said in candidate.verdict.said],
        )

    async def _decide(self, tenant: str, key: str | None, request: SendRequest) -> Candidate:
        settings, hooks, now = self._tenants.settings(tenant), self._tenants.hooks(tenant), self._clock.now()
        draft = _draft(tenant, request, settings.region, now)
        changes = hooks.implements("prepare_outgoing")
        message = await hooks.pipe("prepare_outgoing", "message", draft) if changes else draft
        verdict = await self._verdict(hooks, settings, message)
        gaps = () if verdict.deny else await self._gaps(hooks, message)
        return Candidate(
            message=message,
            verdict=verdict,
            gaps=gaps,
            zone=settings.zone,
            at=now,
            key=key,
            fingerprint=_fingerprint(draft, request) if draft.client_ref is not None else None,
        )

    async def _verdict(self, hooks: Hooks, settings: TenantSettings, message: Outgoing) -> Verdict:
        found = await hooks.collect("admit", message=message)
        if message.answers is not None:
            found.append((_CORE, REPLY_LIMIT))
            if settings.replies == "exempt":
                found.append((_CORE, Exempt(("daily_limit", "delay"), when=Listed.REPLY)))
        # Most of a tenant's messages hear the same: comparing costs a fraction of merging, also of a cached merge.
        before, verdict = self._verdicts.get(message.tenant, _NOTHING_SAID)
        if found != before:
            verdict = merge(Said(plugin, decision) for plugin, decision in found)
            self._verdicts[message.tenant] = found, verdict
        return verdict

    async def _gaps(self, hooks: Hooks, message: Outgoing) -> tuple[tuple[str, int], ...]:
        """What each plugin asks to leave before this message, in ms. It is asked at admission and not at sending,
        because the answer to the caller promises a time."""
        previous = self._previous.get(message.tenant)
        answers, failures = await hooks.collect_settled("pace", message=message, previous=previous)
        gaps: dict[str, float] = {failure.plugin: DEFAULT_GAP for failure in failures}
        for plugin, seconds in answers:
            gaps[plugin] = max(seconds, gaps.get(plugin, 0.0))
        return tuple((plugin, math.ceil(seconds * 1000)) for plugin, seconds in gaps.items())

    async def _replay_or_refuse(self, candidate: Candidate, deny: Deny) -> Admitted:
        """Policy may have changed since a message was accepted: its key still answers."""
        message = candidate.message
        if not await self._tenants.is_valid(message.tenant, candidate.key):
            raise _revoked()
        if message.client_ref is not None and (found := await self._store.replay(message.tenant, message.client_ref)):
            fingerprint, outcome = found
            if fingerprint != candidate.fingerprint:
                raise _conflict()
            return self._admitted(candidate, outcome)
        raise _denied(deny)

    def _admitted(self, candidate: Candidate, outcome: Outcome) -> Admitted:
        message = candidate.message
        match outcome.outcome:
            case "revoked":
                raise _revoked()
            case "conflict":
                raise _conflict()
            case "denied":
                raise _denied(_that_holds(candidate, outcome))
            case "over":
                raise self._over(candidate, outcome)
            case "queued":
                self._note(message)
            case "replayed" if outcome.message_id == message.id:  # this very request, sent again to make certain
                self._note(message)
        return Admitted(
            id=outcome.message_id,
            status=outcome.status or "unknown",
            to=message.to,
            expected_at=self._promise(message.tenant, outcome.expected_at),
            ahead=outcome.ahead or 0,
            quota=outcome.quota,
            replayed=outcome.outcome == "replayed" and outcome.message_id != message.id,
        )

    def _note(self, message: Outgoing) -> None:
        self._previous[message.tenant] = message
        self._on_admitted(message)

    def _promise(self, tenant: str, expected_at: datetime | None) -> datetime | None:
        return expected_at if self._expectable(tenant) else None

    def _over(self, candidate: Candidate, outcome: Outcome) -> OverLimit:
        usage = outcome.quota
        assert usage is not None, "whoever is over a quota is told which"  # noqa: S101
        quota = next(q for q in candidate.verdict.quotas if (q.name, q.limit) == (usage.name, usage.limit))
        whose = candidate.message.to if quota.per == "recipient" else "this tenant"
        return OverLimit(
            "limit_reached",
            f"{usage.name}: {usage.used} of {usage.limit} messages per {quota.period} are used for {whose}",
            retry_after=max(1.0, (usage.resets_at - self._clock.now()).total_seconds()),
            quota={
                "name": usage.name,
                "limit": usage.limit,
                "used": usage.used,
                "remaining": max(usage.limit - usage.used, 0),
                "resets_at": usage.resets_at,
            },
        )


def _draft(tenant: str, request: SendRequest, region: str, now: datetime) -> Outgoing:
    address = jid.parse(request.number, region)
    _check_text(request.message)
    _check_times(request, now)
    lifetime = LIFETIME if request.expires_in is None else timedelta(seconds=request.expires_in)
    return _outgoing(
        id=request.id or str(uuid7()),
        tenant=tenant,
        to=address.key,
        phone=address.phone,
        lid=address.lid,
        content=request.message,
        reply_to=request.reply_to,
        mentions=tuple([jid.parse(number, region, field="mentions").key for number in request.mentions]),
        client_ref=request.client_ref,
        priority=request.priority,
        send_at=request.send_at,
        expires_at=max(request.send_at or now, now) + lifetime,
        answers=request.answers,
        author=request.author,
        transactional=request.transactional,
    )


def _check_text(text: str) -> None:
    """Every door comes by here: HTTP has looked at its bodies before, plugins and the command line have not."""
    if not text.strip():
        raise Unprocessable("field_empty", "message is empty", field="message")
    if len(text) > LONGEST_CONTENT:
        raise Unprocessable("field_too_long", f"message is longer than {LONGEST_CONTENT} characters", field="message")
    if not storable(text):
        code = "nul_character" if "\0" in text else "lone_surrogate"
        raise BadRequest(code, "message contains a character that no text has", field="message")


def _check_times(request: SendRequest, now: datetime) -> None:
    if request.send_at is not None and request.send_at > now + FARTHEST:
        raise Unprocessable("send_at_too_far", "send_at is more than 365 days ahead", field="send_at")
    if request.expires_in is not None and not 0 < request.expires_in <= FARTHEST.total_seconds():
        raise Unprocessable(
            "expires_in_out_of_range", "expires_in is in seconds, more than 0 and at most 365 days", field="expires_in"
        )


def _fingerprint(draft: Outgoing, request: SendRequest) -> str:
    """Of what the caller asked for, before any plugin changed it."""
    asked: list[Any] = ["send-message", draft.to, draft.content, draft.reply_to, draft.mentions, draft.priority]
    asked += [request.send_at, request.expires_in, request.transactional]
    return hashlib.sha256(msgspec.json.encode(asked)).hexdigest()


def _that_holds(candidate: Candidate, outcome: Outcome) -> Deny:
    denies = candidate.verdict.denied_when
    # An equal request shares the outcome of another, of which plugins may have said something else.
    return denies[outcome.denied - 1] if outcome.denied and outcome.denied <= len(denies) else _DENIED_TOO


def _denied(deny: Deny) -> Forbidden | OverLimit:
    if deny.retry_after is None:
        return Forbidden(deny.code, deny.message)
    return OverLimit(deny.code, deny.message, retry_after=deny.retry_after)


def _revoked() -> Unauthorized:
    return Unauthorized("invalid_key", "the API key is not valid")


def _conflict() -> Conflict:
    return Conflict("idempotency_key_reused", "this idempotency key was used for another request; use a new one")
