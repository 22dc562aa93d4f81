"""How events are chosen by their type: `message.received`, `message.*`, `*`."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from core.model import SessionState, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

EVERYTHING = "*"

TYPES = frozenset(
    [
        *(f"message.{status}" for status in get_args(Status) if status != "sending"),
        *("message.received", "message.lost", "message.overdue", "message.reply_refused"),
        *(f"session.{state}" for state in get_args(SessionState)),
        "session.phone_not_seen",
    ]
)
"""All that there are; that a message is on its way is none."""

_CHOICES = TYPES | {EVERYTHING, "message.*", "session.*"}


def check_types(patterns: Iterable[str]) -> None:
    """Raise ValueError for what is no event's type, so that a slip of the pen does not silently choose nothing."""
    for pattern in patterns:
        if pattern not in _CHOICES:
            raise ValueError(f"{pattern[:60]!r} chooses no event; write message.*, session.*, * or a type's whole name")
