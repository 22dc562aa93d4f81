"""What each hook may answer. Anything else is refused here, before it can spoil a statement that carries other tenants'
messages too.

A check takes the answer and the hook's arguments, and returns it in one shape: a tuple for hooks that are collected.
"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, get_args

from core.decisions import Decision, Deny, Exempt, Listed, Per, Period, Quota
from core.model import PRIORITIES, Incoming, Outgoing, Principal, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LONGEST_CONTENT = 65_536
LONGEST_GAP = 86_400.0
"""Seconds; a gap longer than a day is a slip of the unit."""

CHANGEABLE = frozenset({"content", "mentions", "reply_to", "priority", "send_at", "expires_at"})
"""What prepare_outgoing may change. Whom a message goes to, and under which id, is the caller's say."""

_LARGEST = 2**31 - 1
_NUMBERS: Final = frozenset({int, float})
_PERIODS: Final = frozenset(get_args(Period))
_PERS: Final = frozenset(get_args(Per))
_FIXED = tuple(field.name for field in fields(Outgoing) if field.name not in CHANGEABLE)


class NonsenseError(Exception):
    """An answer that the hook does not allow; the text says what was expected."""


def check_admit(answer: Any, _: Mapping[str, Any]) -> tuple[Decision, ...]:
    """One decision or several become a tuple of sound ones."""
    decisions = (answer,) if type(answer) in _DECISIONS else _several(answer)
    for decision in decisions:
        if type(decision) not in _DECISIONS:
            raise NonsenseError(f"expected Deny, Quota, Exempt, a list of them or None, got {_shown(decision)}")
        _DECISIONS[type(decision)](decision)
    return decisions


def decisions_check() -> Callable[[Any, Mapping[str, Any]], tuple[Decision, ...]]:
    """`check_admit` for one plugin: a decision never changes, so one that is said again is not looked at again."""
    sound: object = object()
    checked: tuple[Decision, ...] = ()

    def check(answer: Any, arguments: Mapping[str, Any]) -> tuple[Decision, ...]:
        nonlocal sound, checked
        if answer is sound:
            return checked
        decisions = check_admit(answer, arguments)
        if type(answer) in _DECISIONS:  # a list may change
            sound, checked = answer, decisions
        return decisions

    return check


def check_pace(answer: Any, _: Mapping[str, Any]) -> tuple[float, ...]:
    """Seconds."""
    if type(answer) not in _NUMBERS or not 0 <= answer <= LONGEST_GAP:
        raise NonsenseError(f"expected seconds from 0 to {LONGEST_GAP:.0f} or None, got {_shown(answer)}")
    return (float(answer),)


def check_prepare_outgoing(answer: Any, arguments: Mapping[str, Any]) -> Outgoing:
    """The message, changed only where it may be, and fit for the database."""
    if type(answer) is not Outgoing:
        raise NonsenseError(f"expected an Outgoing or None, got {_shown(answer)}")
    before: Outgoing = arguments["message"]
    for name in _FIXED:
        if getattr(answer, name) != getattr(before, name):
            raise NonsenseError(f"{name!r} must stay as it is; what may change: {', '.join(sorted(CHANGEABLE))}")
    _check_content(answer.content, answer.reply_to, answer.mentions, answer.priority)
    for name in ("send_at", "expires_at"):
        moment = getattr(answer, name)
        if moment is None and name == "send_at":
            continue
        if getattr(moment, "tzinfo", None) is None:
            raise NonsenseError(f"expected an aware datetime as {name!r}, got {_shown(moment)}")
    return answer


def check_authenticate(answer: Any, _: Mapping[str, Any]) -> Principal:
    """A Principal."""
    if not isinstance(answer, Principal) or not isinstance(answer.tenant, str) or not answer.tenant:
        raise NonsenseError(f"expected a Principal with a tenant's id or None, got {_shown(answer)}")
    return answer


def check_on_message(answer: Any, arguments: Mapping[str, Any]) -> tuple[Reply, ...]:
    """Replies; a str becomes one into the same chat."""
    message: Incoming = arguments["message"]
    replies = []
    for item in _several(answer):
        reply = message.reply(item) if isinstance(item, str) else item
        if type(reply) is not Reply or not isinstance(reply.to, str) or not reply.to:
            raise NonsenseError(f"expected message.reply(…), a str, a list of them or None, got {_shown(item)}")
        _check_content(reply.content, reply.reply_to, reply.mentions, reply.priority)
        replies.append(reply)
    return tuple(replies)


def check_nothing(_: Any, __: Mapping[str, Any]) -> tuple[()]:
    """A hook that is only told: whatever it answers is dropped."""
    return ()


def _several(answer: Any) -> tuple[Any, ...]:
    return tuple(answer) if isinstance(answer, list | tuple) else (answer,)


def _check_quota(quota: Quota) -> None:
    limit, cost = quota.limit, quota.cost
    if type(limit) is not int or limit > _LARGEST or type(cost) is not int or cost > _LARGEST:
        raise NonsenseError(f"expected whole numbers up to {_LARGEST} as limit and cost of {quota}")
    if quota.period not in _PERIODS or quota.per not in _PERS:
        raise NonsenseError(f"expected a period of {sorted(_PERIODS)} and a per of {sorted(_PERS)} in {quota}")
    if quota.name:
        _check_name(quota.name)
    if quota.when is not None:
        _check_when(quota.when)


def _check_exempt(exempt: Exempt) -> None:
    if type(exempt.names) is not tuple:
        raise NonsenseError(f"expected a tuple of names in {exempt}")
    for name in exempt.names:
        _check_name(name)
    if exempt.when is not None:
        _check_when(exempt.when)


def _check_deny(deny: Deny) -> None:
    _check_name(deny.code)
    if not isinstance(deny.message, str) or not storable(deny.message):
        raise NonsenseError(f"expected a text as message of {deny!r}")
    after = deny.retry_after
    if after is not None and (type(after) not in _NUMBERS or not math.isfinite(after) or after < 0):
        raise NonsenseError(f"expected seconds or None as retry_after of {deny!r}")
    if deny.when is not None:
        _check_when(deny.when)


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= 200 or not name.isprintable():
        raise NonsenseError(f"expected a name of 1 to 200 printable characters, got {_shown(name)}")


def _check_when(when: Any) -> None:
    if type(when) is not Listed or when is _NOWHERE:
        known = ", ".join(f"Listed.{member.name}" for member in Listed)
        raise NonsenseError(f"expected {known} or None as when, got {_shown(when)}")


def _check_content(content: Any, reply_to: Any, mentions: Any, priority: Any) -> None:
    if not isinstance(content, str) or not 0 < len(content) <= LONGEST_CONTENT or not storable(content):
        raise NonsenseError(f"expected 1 to {LONGEST_CONTENT} characters of text as content, got {_shown(content)}")
    if reply_to is not None and not (isinstance(reply_to, str) and storable(reply_to)):
        raise NonsenseError(f"expected a WhatsApp message id or None as reply_to, got {_shown(reply_to)}")
    if type(mentions) is not tuple or not all(isinstance(name, str) and storable(name) for name in mentions):
        raise NonsenseError(f"expected a tuple of texts as mentions, got {_shown(mentions)}")
    if priority not in PRIORITIES:
        raise NonsenseError(f"expected a priority of {', '.join(PRIORITIES)}, got {_shown(priority)}")


def storable(text: str) -> bool:
    """PostgreSQL keeps neither a NUL nor half of a surrogate pair."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {value!r}"[:120]


_NOWHERE = Listed(0)  # there is one such object; asking a flag whether it is empty takes ten times as long

_DECISIONS: Mapping[type, Callable[[Any], None]] = {Quota: _check_quota, Exempt: _check_exempt, Deny: _check_deny}

CHECKS: Mapping[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "startup": check_nothing,
    "shutdown": check_nothing,
    "authenticate": check_authenticate,
    "prepare_outgoing": check_prepare_outgoing,
    "admit": check_admit,
    "pace": check_pace,
    "on_message": check_on_message,
    "on_status": check_nothing,
    "on_session": check_nothing,
}
