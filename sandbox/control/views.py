"""What a phone looks like from outside: the shapes of the API's answers."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox import ChatLine, Phone, Received, Sandbox

TYPING_FADES = 25.0
"""Seconds after which nobody is typing any more who has not said so again; WhatsApp's apps do the same."""


@dataclass(frozen=True, slots=True)
class DeviceView:
    """A linked device. `waiting`: stanzas that it has yet to fetch."""

    device: int
    online: bool
    waiting: int


@dataclass(frozen=True, slots=True)
class PhoneView:
    """A phone in the list of phones; `last` is the newest line of all its chats."""

    number: str
    name: str
    lid: str
    online: bool
    auto_read: bool
    devices: list[DeviceView]
    version: int
    last: ChatLine | None


@dataclass(frozen=True, slots=True)
class ChatView:
    """A chat, oldest line first. `number` is the other's number or LID, `name` its phone's name if it has a phone."""

    number: str
    name: str
    typing: bool
    lines: list[ChatLine]


@dataclass(frozen=True, slots=True)
class ChatsView:
    """A phone with its chats, the latest first. `version` grows with everything that the phone does or sees."""

    phone: PhoneView
    version: int
    chats: list[ChatView]
    failures: list[str]


@dataclass(frozen=True, slots=True)
class InboxView:
    """Messages from number `after` on, and the `after` to ask with next."""

    messages: list[Received]
    next: int


def phone_view(sandbox: Sandbox, phone: Phone) -> PhoneView:
    """`phone` without its chats."""
    lines = [line for chat in phone.chats.values() for line in chat[-1:]]
    return PhoneView(
        number=phone.number,
        name=phone.name,
        lid=phone.lid,
        online=phone.online,
        auto_read=phone.auto_read,
        devices=device_views(sandbox, phone.number),
        version=phone.version,
        last=max(lines, key=lambda line: line.at, default=None),
    )


def device_views(sandbox: Sandbox, number: str) -> list[DeviceView]:
    """An account's linked devices. Raises UnknownNumber."""
    return [
        DeviceView(device, sandbox.is_online(number, device), sandbox.waiting(number, device))
        for device in sandbox.devices(number)
    ]


def chats_view(sandbox: Sandbox, phone: Phone) -> ChatsView:
    """`phone` with its chats."""
    typing = _who_types(phone)
    names = {other.number: other.name for other in sandbox.phones.values()}
    chats = [
        ChatView(number, names.get(number, ""), number in typing, list(lines)) for number, lines in phone.chats.items()
    ]
    chats.sort(key=lambda chat: chat.lines[-1].at.timestamp() if chat.lines else 0.0, reverse=True)
    return ChatsView(phone_view(sandbox, phone), phone.version, chats, list(phone.failures))


def _who_types(phone: Phone) -> set[str]:
    """Who was last seen composing, not too long ago, and has not written since."""
    latest = {seen.sender: seen for seen in phone.typing_seen}
    return {
        number
        for number, seen in latest.items()
        if seen.state == "composing"
        and time.monotonic() - seen.at < min(TYPING_FADES, _silence(phone.chats.get(number, [])))
    }


def _silence(lines: list[ChatLine]) -> float:
    """Seconds since the other one's latest message."""
    at = next((line.at for line in reversed(lines) if not line.from_me), None)
    return math.inf if at is None else (datetime.now(UTC) - at).total_seconds()
