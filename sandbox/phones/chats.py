"""What a person sees on a simulated phone."""

import datetime as dt
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Received:
    """A message that arrived.

    id: the sender's. sender: digits, or a LID the sandbox does not know. kind: "text", or "image", "reaction" and the
    like, of which `text` holds the caption or the emoji. reply_to: the id of the quoted message. mentions: digits where
    the number is known, else whole addresses. to: whom another device of the phone's own account sent this to, as
    digits. at: UTC, when it arrived.
    """

    id: str
    sender: str
    sender_device: int
    text: str
    at: dt.datetime
    reply_to: str | None = None
    quoted_text: str | None = None
    mentions: tuple[str, ...] = ()
    to: str | None = None
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class ReceiptSeen:
    """What became of a message that the phone sent. type: "delivered", "inactive", "read", "played"."""

    message_id: str
    type: str
    sender: str  # digits
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class TypingSeen:
    """Somebody types, or stopped. state: "composing" or "paused"; at: seconds of time.monotonic()."""

    sender: str
    state: str
    at: float


@dataclass(frozen=True, slots=True)
class ChatLine:
    """A message in a chat. status: "sent", "delivered" or "read" of those sent, "received" or "read" of the others."""

    id: str
    from_me: bool
    text: str
    at: dt.datetime
    reply_to: str | None = None
    mentions: tuple[str, ...] = ()
    status: str = "sent"
    kind: str = "text"


_RANK = {"received": 0, "sent": 0, "inactive": 1, "delivered": 1, "read": 2, "played": 2}


class Chats:
    """Both directions of every chat, in the order the phone saw them, by the other's number."""

    def __init__(self) -> None:
        self.by_number: dict[str, list[ChatLine]] = {}
        self._places: dict[str, tuple[str, int]] = {}  # by message id

    def add(self, other: str, line: ChatLine) -> None:
        lines = self.by_number.setdefault(other, [])
        self._places[line.id] = other, len(lines)
        lines.append(line)

    def find(self, message_id: str) -> tuple[str, ChatLine] | None:
        """Whose chat a message is in, and its line."""
        place = self._places.get(message_id)
        return (place[0], self.by_number[place[0]][place[1]]) if place else None

    def mark(self, message_id: str, status: str) -> None:
        """Tell how far a message came; it never goes back."""
        other, at = self._places.get(message_id, ("", 0))
        if other:
            line = self.by_number[other][at]
            if _RANK.get(status, 0) > _RANK[line.status]:
                shown = {"inactive": "delivered", "played": "read"}.get(status, status)
                self.by_number[other][at] = replace(line, status=shown)
