"""The values that flow through Gapura: frozen, slotted, without behaviour but `reply()`.

An address is one string everywhere, the *recipient key* of `core.jid`: a phone number's digits with country code and
without "+" (`628123456789`), `…@lid` while a person's number is unknown, or `…@g.us` for a group. Every datetime is
aware, in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

Priority = Literal["urgent", "normal", "bulk"]
PRIORITIES: tuple[Priority, ...] = ("urgent", "normal", "bulk")

Status = Literal[
    "queued", "sending", "sent", "delivered", "read", "played", "failed", "expired", "unknown", "cancelled"
]  # fmt: skip

SessionState = Literal[
    "unpaired", "pairing", "connecting", "connected", "disconnected", "logged_out", "replaced", "restricted",
    "client_outdated", "banned",
]  # fmt: skip

Kind = Literal["text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthRequest:
    """What a plugin's `authenticate` sees of an HTTP request. `headers` are case-insensitive."""

    method: str
    path: str
    headers: Mapping[str, str]
    remote: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks. `key` is the API key's digest (`sha256:<hex>`), checked again inside the admission statement; None when
    the caller was authenticated by other means."""

    tenant: str
    name: str
    scopes: frozenset[str] = frozenset({"send", "read", "manage"})
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One message on its way to WhatsApp. `id` is a UUIDv7; `to` is a recipient key; `phone` and `lid` tell what is
    known of the person; `reply_to` is the WhatsApp id of the message it quotes; `answers` is the incoming message that
    a bot replies to; `author` is the plugin that wrote it, None when it came from outside; `transactional` is the
    caller's word that the recipient asked for it by an act of their own, such as an order. A message that waits in the
    outbox no longer knows the last two."""

    id: str
    tenant: str
    to: str
    content: str
    expires_at: datetime
    phone: str | None = None
    lid: str | None = None
    kind: Kind = "text"
    reply_to: str | None = None
    mentions: tuple[str, ...] = ()
    client_ref: str | None = None
    priority: Priority = "normal"
    send_at: datetime | None = None
    answers: str | None = None
    author: str | None = None
    transactional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a plugin answers to an incoming message; it enters at prepare_outgoing like any other message."""

    to: str
    content: str
    reply_to: str | None = None
    mentions: tuple[str, ...] = ()
    priority: Priority = "normal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """One message from WhatsApp. `chat` is where a reply goes (a person or a group), `sender` the person; `reply_to` is
    the WhatsApp id of the message that it quotes, and `mentions` the people it mentions, by recipient key; `backlog` is
    true when it was older than two minutes on arrival."""

    id: str
    tenant: str
    chat: str
    sender: str
    content: str
    at: datetime
    phone: str | None = None
    lid: str | None = None
    push_name: str = ""
    kind: Kind = "text"
    reply_to: str | None = None
    mentions: tuple[str, ...] = ()
    backlog: bool = False

    def reply(
        self, content: str, *, quote: bool = False, mentions: tuple[str, ...] = (), priority: Priority = "normal"
    ) -> Reply:
        """A Reply into the same chat; with `quote` it cites this message."""
        return Reply(
            to=self.chat,
            content=content,
            reply_to=self.id if quote else None,
            mentions=mentions,
            priority=priority,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChange:
    """An outgoing message's new status, with the cause in words where there is one."""

    tenant: str
    message_id: str
    to: str
    status: Status
    at: datetime
    cause: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionChange:
    """A tenant's WhatsApp session in a new state."""

    tenant: str
    state: SessionState
    at: datetime
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class OptOut:
    """Who asked a tenant for no more messages, by recipient key, and the proof: since when, and which message said so
    with which words in which chat."""

    to: str
    since: datetime
    message_id: str
    content: str
    chat: str
