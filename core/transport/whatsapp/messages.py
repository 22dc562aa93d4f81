"""Outgoing messages as the library wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neonize.proto.Neonize_pb2 import JID
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import ContextInfo, ExtendedTextMessage, Message

from core.jid import to_jid

if TYPE_CHECKING:
    from core.transport.wire import Quote


def text_message(text: str, quote: Quote | None, mentions: tuple[str, ...], secret: bytes | None) -> Message:
    """A plain conversation, or an extended text when it quotes or mentions somebody (`mentions`: recipient keys)."""
    if quote is None and not mentions:
        message = Message(conversation=text)
    else:
        context = ContextInfo(mentionedJID=[to_jid(key) for key in mentions])
        if quote is not None:
            context.stanzaID = quote.id
            context.participant = to_jid(quote.sender)
            context.quotedMessage.conversation = quote.content
        message = Message(extendedTextMessage=ExtendedTextMessage(text=text, contextInfo=context))
    if secret is not None:
        message.messageContextInfo.messageSecret = secret
    return message


def address(key: str) -> JID:
    """The library's address of a recipient key."""
    user, _, server = to_jid(key).rpartition("@")
    return JID(User=user, Server=server, Device=0, RawAgent=0, Integrator=0, IsEmpty=False)


def own_address(device: str) -> JID:
    """The address that opens a stored device (`628…:7@s.whatsapp.net`).

    Go keeps a client's state under JID.User, so the device's number stands in there: two devices of one number would
    otherwise share it. The store finds the row all the same, as both spell the same text.
    """
    user, _, server = device.rpartition("@")
    return JID(User=user, Server=server, Device=0, RawAgent=0, Integrator=0, IsEmpty=False)
