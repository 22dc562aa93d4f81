"""What a WhatsApp session tells and takes, as plain values: importable without the library that speaks to WhatsApp.

Addresses are recipient keys (see core.jid): one person is the phone number's digits where the number is known, else
`…@lid`; a group is `…@g.us`. Only `jid` and `lid` of a device are WhatsApp's own spelling, with the device's number:
`628123456789:7@s.whatsapp.net`. Every datetime is aware, in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

ReceiptStatus = Literal["delivered", "read", "played"]
ReceivedKind = Literal[
    "text", "image", "video", "audio", "document", "sticker", "contact", "location", "poll", "reaction", "unsupported"
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class QrShown:
    """A code to be scanned until `expires_at`; then another one follows, or PairingFailed("qr_ran_out")."""

    text: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Paired:
    """A phone has linked this device; Connected follows when it has logged in. `lid` is empty when not yet known."""

    jid: str
    lid: str = ""


@dataclass(frozen=True, slots=True)
class PairingFailed:
    """No phone was linked: `qr_ran_out`, `refused` by WhatsApp or the phone, `client_outdated`, … The client is of no
    more use: close it."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Connected:
    """Logged in; messages can be sent."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The socket is gone. The library dials again by itself; Connected follows when it came through."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """WhatsApp no longer knows the device and its rows are deleted: `code` is 401 (unlinked by the phone or from it),
    403 (the phone is gone or locked), 406 (the account is banned); `on_connect` tells that a login was refused."""

    code: int
    on_connect: bool


@dataclass(frozen=True, slots=True)
class Replaced:
    """Another process connected with the same keys. The library stays away by itself."""


@dataclass(frozen=True, slots=True)
class TemporaryBan:
    """The account may not log in before `expires_at` (None when WhatsApp did not say). `code` is WhatsApp's reason
    (101 too many people, 102 blocked by users, …), None when it is one the library does not know."""

    code: int | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class ClientOutdated:
    """WhatsApp wants a newer client (405): this concerns every session, and no message of theirs leaves."""


@dataclass(frozen=True, slots=True)
class LoginRefused:
    """A login was refused for a reason of no other name; the device's rows stay, the library stays away."""

    code: int | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """WhatsApp ended the stream with a code the library does not know; Disconnected usually follows."""

    code: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The library's own loop of this client is over though nobody closed it: it met something of WhatsApp's that it
    cannot encode (a receipt of an unknown type, a ban with an unknown code). Nothing will be heard any more, and the
    socket is left: close the client and open the session anew. `reason` is the library's text."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message that arrived: from a person, or (`from_me`) copied from another device of this account,
    which with `from_phone` is the phone itself.

    `chat` is where it was said and where a reply goes, `sender` who said it. `phone` and `lid` are what is known of
    the sender. `content` is the words that it has: a text, a caption, a contact's name, a poll's question, a reaction's
    sign; empty where there are none. `reply_to` is the WhatsApp id of the message that it quotes, or reacts to.
    """

    id: str
    chat: str
    sender: str
    content: str
    at: datetime
    kind: ReceivedKind = "text"
    phone: str | None = None
    lid: str | None = None
    push_name: str = ""
    reply_to: str | None = None
    mentions: tuple[str, ...] = ()
    from_me: bool = False
    from_phone: bool = False
    is_group: bool = False


@dataclass(frozen=True, slots=True)
class Signal:
    """What devices tell each other about messages and keys has arrived under this id: nothing that a person would read,
    such as the mark that a message was edited or deleted."""

    id: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message came once more, and it cannot be opened a second time. Either we have it, or it was lost between its
    being opened and its being told: by a process that was killed. `sender` and `chat` are WhatsApp's addresses."""

    id: str
    sender: str
    chat: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of messages of ours on somebody's phone. Receipts of our own devices are left out."""

    ids: tuple[str, ...]
    status: ReceiptStatus
    chat: str
    sender: str
    at: datetime


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """Somebody's phone could not decrypt messages of ours that left under these ids, and asks for them once more. The
    library answers by itself what the present client has sent. What linked devices ask for, or members of a group, is
    left out: others can read it."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PhoneSeen:
    """The account's own phone confirmed something: it is there."""


Arriving = Received | Receipt | Signal | Unreadable
"""What comes in from people, to be written down."""

Event = (
    QrShown
    | Paired
    | PairingFailed
    | Connected
    | Disconnected
    | LoggedOut
    | Replaced
    | TemporaryBan
    | ClientOutdated
    | LoginRefused
    | StreamFailed
    | Ended
    | AskedAgain
    | PhoneSeen
    | Arriving
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a device is logged in as; `jid` and `lid` carry the device's number. Empty texts before pairing."""

    jid: str
    lid: str
    push_name: str

    @property
    def phone(self) -> str:
        """The account's number, digits."""
        return self.jid.partition("@")[0].partition(":")[0]


@dataclass(frozen=True, slots=True)
class Quote:
    """The message that another one answers: its WhatsApp id, the recipient key of who wrote it, and its text."""

    id: str
    sender: str
    content: str
