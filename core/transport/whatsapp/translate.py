"""The library's events as values of core.transport.wire. Runs in the library's threads: pure, no waiting.

Codes are neonize's (its events.py). What is not here is not subscribed to; above all not 13, history.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from neonize.proto import Neonize_pb2 as pb

from core.transport.wire import (
    AskedAgain,
    ClientOutdated,
    Connected,
    Disconnected,
    LoggedOut,
    LoginRefused,
    Paired,
    PairingFailed,
    PhoneSeen,
    Receipt,
    ReceiptStatus,
    Received,
    Replaced,
    Signal,
    StreamFailed,
    TemporaryBan,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.transport.wire import Event, ReceivedKind

# Neonize.proto, ConnectFailureReason: WhatsApp's own codes, of whatsmeow's types/events/events.go
_REASONS = {1: 400, 2: 401, 3: 402, 4: 403, 5: 406, 6: 405, 7: 409, 8: 500, 9: 501, 10: 503}
_BANS = {1: 101, 2: 102, 3: 103, 4: 104, 5: 106}

# Neonize.proto, Receipt.ReceiptType. Inactive is a delivery to somebody who is not looking. Left out: sender (2) and
# read-self (5) come from our own devices, 8 also stands for played-self.
_RECEIPTS: dict[int, ReceiptStatus] = {1: "delivered", 9: "delivered", 4: "read", 6: "played"}
_RETRY = 3

# What a person writes, takes a picture of or picks is a message; these are signals between devices, or marks on other
# messages.
_SIGNALS = {
    "protocolMessage",
    "senderKeyDistributionMessage",
    "fastRatchetKeySenderKeyDistributionMessage",
    "messageContextInfo",
    "deviceSentMessage",
    "encReactionMessage",
    "keepInChatMessage",
    "pinInChatMessage",
    "pollUpdateMessage",
    "encCommentMessage",
    "encEventResponseMessage",
    "secretEncryptedMessage",
    "editedMessage",
    "call",
    "messageHistoryNotice",
    "messageHistoryBundle",
    "placeholderMessage",
    "stickerSyncRmrMessage",
    "botInvokeMessage",
}

# What has a name of its own, and which field holds its words.
_KINDS: dict[str, tuple[ReceivedKind, str | None]] = {
    "imageMessage": ("image", "caption"),
    "videoMessage": ("video", "caption"),
    "ptvMessage": ("video", "caption"),
    "audioMessage": ("audio", None),
    "documentMessage": ("document", "caption"),
    "stickerMessage": ("sticker", None),
    "contactMessage": ("contact", "displayName"),
    "contactsArrayMessage": ("contact", "displayName"),
    "locationMessage": ("location", "name"),
    "liveLocationMessage": ("location", "caption"),
    "pollCreationMessage": ("poll", "name"),
    "pollCreationMessageV2": ("poll", "name"),
    "pollCreationMessageV3": ("poll", "name"),
    "reactionMessage": ("reaction", "text"),
}


def translate(code: int, raw: bytes, now: datetime) -> Event | None:
    """One event, None when it is none of ours. Raises google.protobuf.message.DecodeError and KeyError."""
    kind, read = _EVENTS[code]
    return read(kind.FromString(raw), now)


def _paired(event: pb.PairStatus, _: datetime) -> Event:
    if event.Status == pb.PairStatus.SUCCESS:
        return Paired(device_jid(event.ID))
    return PairingFailed("refused", event.Error)


def _logged_out(event: pb.LoggedOut, _: datetime) -> Event:
    return LoggedOut(_REASONS.get(event.Reason, 401), event.OnConnect)


def _banned(event: pb.TemporaryBan, now: datetime) -> Event:
    until = now + timedelta(seconds=event.Expire) if event.Expire > 0 else None
    return TemporaryBan(_BANS.get(event.Code), until)


def _refused(event: pb.ConnectFailure, _: datetime) -> Event:
    return LoginRefused(_REASONS.get(event.Reason), event.Message)


def _receipt(event: pb.Receipt, _: datetime) -> Event | None:
    source = event.MessageSource
    status = _RECEIPTS.get(event.Type)
    if source.IsFromMe:
        return PhoneSeen() if source.Sender.Device == 0 else None
    if event.Type == _RETRY:
        return _asked_again(event)
    if status is None or not event.MessageIDs:
        return None
    sender = _key(source.Sender, source.SenderAlt)
    chat = _group(source.Chat) if source.IsGroup else sender
    if sender is None or chat is None:
        return None
    at = datetime.fromtimestamp(event.Timestamp, UTC)
    return Receipt(ids=tuple(event.MessageIDs), status=status, chat=chat, sender=sender, at=at)


def _asked_again(event: pb.Receipt) -> Event | None:
    source = event.MessageSource
    if source.IsGroup or source.Sender.Device != 0 or not event.MessageIDs:
        return None
    return AskedAgain(tuple(event.MessageIDs))


def _received(event: pb.Message, _: datetime) -> Event | None:
    info, source = event.Info, event.Info.MessageSource
    sender, chat = _key(source.Sender, source.SenderAlt), _chat(source)
    if sender is None or chat is None or info.Category == "peer":
        return None
    said = None if event.IsEdit else _content(event.Message)
    if said is None:
        return Signal(info.ID)
    kind, text, context = said
    return Received(
        id=info.ID,
        chat=chat,
        sender=sender,
        content=text,
        at=datetime.fromtimestamp(info.Timestamp / 1000, UTC),
        kind=kind,
        phone=_user("s.whatsapp.net", source.Sender, source.SenderAlt),
        lid=_lid(source.Sender, source.SenderAlt),
        push_name=info.Pushname,
        reply_to=_refers_to(kind, context),
        mentions=() if kind == "reaction" or context is None else tuple(map(_key_of_text, context.mentionedJID)),
        from_me=source.IsFromMe,
        from_phone=source.IsFromMe and source.Sender.Device == 0,
        is_group=source.IsGroup,
    )


def _content(message: Any) -> tuple[ReceivedKind, str, Any] | None:
    """(kind, its words, what it refers to: contextInfo, or the key of the message that a reaction is about), or None
    for a signal."""
    if message.conversation:
        return "text", message.conversation, None
    if message.HasField("extendedTextMessage"):
        extended = message.extendedTextMessage
        return "text", extended.text, _context(extended)
    for field, part in message.ListFields():
        if known := _KINDS.get(field.name):
            kind, words = known
            return kind, getattr(part, words) if words else "", part.key if kind == "reaction" else _context(part)
    if any(field.name not in _SIGNALS for field, _ in message.ListFields()):
        return "unsupported", "", None
    return None


def _context(part: Any) -> Any:
    return part.contextInfo if part.HasField("contextInfo") else None


def _refers_to(kind: ReceivedKind, context: Any) -> str | None:
    if context is None:
        return None
    return (context.ID if kind == "reaction" else context.stanzaID) or None


def _chat(source: pb.MessageSource) -> str | None:
    """Where a message was said, None for status, channels and lists."""
    if source.IsGroup:
        return _group(source.Chat)
    return _key(source.Chat, source.RecipientAlt if source.IsFromMe else source.SenderAlt)


def _group(chat: pb.JID) -> str | None:
    return f"{chat.User}@g.us" if chat.Server == "g.us" else None


def _key(jid: pb.JID, alternative: pb.JID) -> str | None:
    """The recipient key of a person under one or two addresses, None for who is no person."""
    if jid.Server not in ("s.whatsapp.net", "lid"):
        return None
    return _user("s.whatsapp.net", jid, alternative) or _lid(jid, alternative)


def _lid(jid: pb.JID, alternative: pb.JID) -> str | None:
    user = _user("lid", jid, alternative)
    return f"{user}@lid" if user else None


def _user(server: str, *jids: pb.JID) -> str | None:
    return next((jid.User for jid in jids if jid.Server == server and jid.User), None)


def _key_of_text(jid: str) -> str:
    user, _, server = jid.rpartition("@")
    user = user.partition(":")[0]
    return user if server == "s.whatsapp.net" else f"{user}@{server}"


def device_jid(jid: pb.JID) -> str:
    """A device's own address in WhatsApp's spelling, an empty text when there is none."""
    if not jid.User:
        return ""
    return f"{jid.User}:{jid.Device}@{jid.Server}" if jid.Device else f"{jid.User}@{jid.Server}"


_EVENTS: dict[int, tuple[Any, Callable[[Any, datetime], Event | None]]] = {
    2: (pb.PairStatus, _paired),
    3: (pb.Connected, lambda *_: Connected()),
    6: (pb.LoggedOut, _logged_out),
    7: (pb.StreamReplaced, lambda *_: Replaced()),
    8: (pb.TemporaryBan, _banned),
    9: (pb.ConnectFailure, _refused),
    10: (pb.ClientOutdated, lambda *_: ClientOutdated()),
    11: (pb.StreamError, lambda event, _: StreamFailed(event.Code)),
    12: (pb.Disconnected, lambda *_: Disconnected()),
    17: (pb.Message, _received),
    18: (pb.Receipt, _receipt),
}

SUBSCRIBED = tuple(_EVENTS)
