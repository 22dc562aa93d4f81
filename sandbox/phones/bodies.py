"""Message bodies: WhatsApp's `Message` protobuf, as a phone writes and reads it.

Field numbers are those of whatsmeow's waE2E.proto.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.wire import protobuf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.wire.protobuf import Message

_CONVERSATION, _EXTENDED_TEXT, _DEVICE_SENT, _CONTEXT_INFO, _REACTION, _PROTOCOL = 1, 6, 31, 35, 46, 12
_SECRET, _TEXT, _CONTEXT = 3, 1, 17
_STANZA_ID, _PARTICIPANT, _QUOTED, _MENTIONED = 1, 2, 3, 15
_WRAPPERS = (37, 40, 53)  # view once, ephemeral, document with caption: {1: the message itself}
_KINDS = {3: "image", 4: "contact", 5: "location", 7: "document", 8: "audio", 9: "video", 26: "sticker", 46: "reaction"}
_CAPTIONS = {3: 3, 7: 20, 9: 7, _REACTION: 2}  # which field of each kind holds the words


@dataclass(frozen=True, slots=True)
class Quote:
    """The message that another one answers. participant: who wrote it, as an address."""

    id: str
    participant: str
    text: str


@dataclass(frozen=True, slots=True)
class Body:
    """What people see of a message. destination: whom an own device sent it to, as an address."""

    kind: str
    text: str
    reply_to: str | None = None
    quoted_text: str | None = None
    mentions: tuple[str, ...] = ()
    destination: str | None = None


def other_body(kind: str, words: str = "") -> bytes:
    """What is no text, as real phones send it but for its contents: of a picture there is the caption alone. KeyError
    for a kind that has no name here."""
    field = {name: field for field, name in _KINDS.items()}[kind]
    return protobuf.encode({field: {_CAPTIONS[field]: words} if words else b"", **_fresh_secret()})


def _fresh_secret() -> protobuf.Fields:
    return {_CONTEXT_INFO: {2: 2, _SECRET: secrets.token_bytes(32)}}


def text_body(text: str, quote: Quote | None = None, mentions: Sequence[str] = ()) -> bytes:
    """A text as real phones send it: with a fresh messageSecret. mentions: addresses."""
    info = _fresh_secret()
    if quote is None and not mentions:
        return protobuf.encode({_CONVERSATION: text, **info})
    context: dict[int, protobuf.Value] = {_MENTIONED: list(mentions)}
    if quote is not None:
        quoted: protobuf.Fields = {_CONVERSATION: quote.text}
        context |= {_STANZA_ID: quote.id, _PARTICIPANT: quote.participant, _QUOTED: quoted}
    return protobuf.encode({_EXTENDED_TEXT: {_TEXT: text, _CONTEXT: context}, **info})


def copy_for_own_devices(destination: str, body: bytes) -> bytes:
    """What a device tells the others of its account about a message that it sent. The secret stands outside as well."""
    info = protobuf.decode(body).get(_CONTEXT_INFO)
    return protobuf.encode({_DEVICE_SENT: {1: destination, 2: body}, _CONTEXT_INFO: info})


def read_body(data: bytes) -> Body | None:
    """What people see of a message; None for what only devices tell each other. Raises Malformed."""
    message, destination = protobuf.decode(data), None
    if _DEVICE_SENT in message:
        sent = message.message(_DEVICE_SENT)
        message, destination = sent.message(2), sent.text(1)
    for wrapper in _WRAPPERS:
        if wrapper in message:
            message = message.message(wrapper).message(1)
    if _CONVERSATION in message:
        return Body("text", message.text(_CONVERSATION), destination=destination)
    if _EXTENDED_TEXT in message:
        return _extended(message.message(_EXTENDED_TEXT), destination)
    for field, kind in _KINDS.items():
        if field in message:
            words = message.message(field).text(_CAPTIONS[field]) if field in _CAPTIONS else ""
            return Body(kind, words, destination=destination)
    return None


def _extended(text: Message, destination: str | None) -> Body:
    if _CONTEXT not in text:
        return Body("text", text.text(_TEXT), destination=destination)
    context = text.message(_CONTEXT)
    quoted = context.get(_QUOTED)
    return Body(
        "text",
        text.text(_TEXT),
        reply_to=context.text(_STANZA_ID) or None,
        quoted_text=_words(quoted) if quoted is not None else None,
        mentions=context.texts(_MENTIONED),
        destination=destination,
    )


def _words(quoted: bytes) -> str:
    body = read_body(quoted)
    return body.text if body else ""
