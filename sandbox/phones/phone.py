"""A simulated phone, as the person holding it sees it."""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
import time
from typing import TYPE_CHECKING

from sandbox.errors import UnknownMessage, UnknownNumber
from sandbox.phones.bodies import Quote, other_body, text_body
from sandbox.phones.chats import ChatLine, Chats, ReceiptSeen, Received, TypingSeen
from sandbox.phones.keys import PhoneKeys
from sandbox.phones.line import Line
from sandbox.wire.appstate import contact, push_name
from sandbox.wire.node import LID, PN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.phones.bodies import Body
    from sandbox.server.accounts import Account
    from sandbox.server.world import World
    from sandbox.wire.node import JID


class Phone:
    """A customer, or a tenant's own phone. Numbers are digits. Made by `Sandbox.phone`.

    received, receipts, typing_seen, failures: all that came, in order. failures are messages that could not be
    decrypted; the phone has asked their senders for another copy, so a failure alone is no loss. auto_read: read what
    comes at once. version: grows with every change of what the phone shows.
    """

    def __init__(self, world: World, account: Account, keys: PhoneKeys | None = None) -> None:
        self.auto_read = False
        self.received: list[Received] = []
        self.receipts: list[ReceiptSeen] = []
        self.typing_seen: list[TypingSeen] = []
        self.failures: list[str] = []
        self.version = 0
        self.history = Chats()
        self.line = Line(world, account, keys or PhoneKeys(account.key), self)
        self._world, self._account = world, account
        self._authors: dict[str, JID] = {}  # of received messages, by id
        self._untaken: asyncio.Queue[Received] = asyncio.Queue()
        self._news = asyncio.Event()

    @property
    def number(self) -> str:
        return self._account.number

    @property
    def lid(self) -> str:
        return self._account.lid

    @property
    def name(self) -> str:
        return self._account.name

    @property
    def chats(self) -> dict[str, list[ChatLine]]:
        """Both directions of every chat, oldest first, by the other's number."""
        return self.history.by_number

    @property
    def online(self) -> bool:
        """An offline phone gets nothing and acknowledges nothing; all of it waits. Set it to switch."""
        return self.line.is_online

    @online.setter
    def online(self, online: bool) -> None:
        self.line.is_online = online

    @property
    def hides_number(self) -> bool:
        """Whoever gets its messages is told its LID and not its number, as in WhatsApp's usernames and ads. It is
        forgotten when the sandbox stops. Set it to switch."""
        return self._account.hides_number

    @hides_number.setter
    def hides_number(self, hides: bool) -> None:
        self._account.hides_number = hides

    # -- doing -------------------------------------------------------------------------------------------------------
    async def send(  # noqa: PLR0913 - what a text may have
        self,
        to: str,
        text: str,
        *,
        reply_to: str | None = None,
        mentions: Sequence[str] = (),
        id: str | None = None,
        at: dt.datetime | None = None,
    ) -> str:
        """Send a text; gives the message's id. Raises UnknownNumber, UnknownMessage (of `reply_to`).

        mentions: numbers, or whole addresses. at: when it was sent, as the receiver is told; None: now.
        """
        account, message_id = self._recipient(to), id or f"3A{secrets.token_hex(9).upper()}"
        quote = self._quote(reply_to) if reply_to is not None else None
        addresses = [who if "@" in who else f"{who}@{PN}" for who in mentions]
        line = ChatLine(message_id, True, text, at or _now(), reply_to, tuple(mentions))
        self.history.add(account.number, line)
        self.line.send(account, text_body(text, quote, addresses), message_id, at)
        self._changed()
        return message_id

    async def show(self, to: str, kind: str, words: str = "") -> str:
        """Send what is no text, a picture or a sticker, without its contents; gives the message's id. Raises
        UnknownNumber.

        kind: image, video, audio, document, sticker, contact, location or reaction. words: the caption, if it may have
        one.
        """
        account, message_id = self._recipient(to), f"3A{secrets.token_hex(9).upper()}"
        self.history.add(account.number, ChatLine(message_id, True, words, _now(), None, (), kind=kind))
        self.line.send(account, other_body(kind, words), message_id)
        self._changed()
        return message_id

    async def read(self, message_id: str) -> None:
        """Look at a received message: its sender gets a read receipt. Raises UnknownMessage."""
        author = self._authors.get(message_id)
        if author is None:
            raise UnknownMessage(f"the phone {self.number} received no message {message_id}")
        self.history.mark(message_id, "read")
        self.line.read(author, message_id)
        self._changed()

    async def typing(self, to: str, on: bool = True) -> None:
        """Begin to type to somebody, or stop. Raises UnknownNumber."""
        self.line.type(self._recipient(to), "composing" if on else "paused")

    async def set_name(self, name: str) -> None:
        """Change the account's push name; its linked devices learn it as app state."""
        self._account.name = name
        self.line.set(push_name(name))
        self._changed()

    async def set_contact(self, number: str, name: str) -> None:
        """Write somebody into the address book; linked devices learn it as app state. Raises UnknownNumber."""
        other = self._recipient(number)
        self.line.set(contact(str(other.jid(PN)), name, str(other.jid(LID))))

    # -- seeing ------------------------------------------------------------------------------------------------------
    async def next(self, timeout: float = 30) -> Received:
        """The oldest message that nobody took yet. Raises TimeoutError after `timeout` seconds."""
        return await asyncio.wait_for(self._untaken.get(), timeout)

    async def receipt(self, message_id: str, type: str, timeout: float = 30) -> ReceiptSeen:
        """The receipt of this type for a message that the phone sent. Raises TimeoutError after `timeout` seconds."""
        async with asyncio.timeout(timeout):
            while True:
                news = self._news
                for seen in self.receipts:
                    if seen.message_id == message_id and seen.type == type:
                        return seen
                await news.wait()

    async def wait_changed(self, version: int, timeout: float) -> int:
        """The version, as soon as it is another than `version`, or after `timeout` seconds the same."""
        if version == self.version:
            try:
                await asyncio.wait_for(self._news.wait(), timeout)
            except TimeoutError:
                return self.version
        return self.version

    # -- what the line tells -----------------------------------------------------------------------------------------
    def on_body(self, sender: JID, message_id: str, body: Body) -> None:
        own = body.destination is not None
        other = self._person(body.destination.partition("@")[0] if body.destination is not None else sender.user)
        mentions = tuple(self._mentioned(address) for address in body.mentions)
        status = "sent" if own else "received"
        self.history.add(
            other, ChatLine(message_id, own, body.text, _now(), body.reply_to, mentions, status=status, kind=body.kind)
        )
        received = Received(
            id=message_id,
            sender=self._person(sender.user),
            sender_device=sender.device,
            text=body.text,
            at=_now(),
            reply_to=body.reply_to,
            quoted_text=body.quoted_text,
            mentions=mentions,
            to=other if own else None,
            kind=body.kind,
        )
        self._arrived(received, sender)

    def _arrived(self, received: Received, sender: JID) -> None:
        self.received.append(received)
        self._untaken.put_nowait(received)
        self._authors[received.id] = sender
        self._changed()
        if self.auto_read and received.to is None:
            self.history.mark(received.id, "read")
            self.line.read(sender, received.id)

    def on_receipt(self, sender: JID, message_ids: list[str], kind: str) -> None:
        for message_id in message_ids:
            self.receipts.append(ReceiptSeen(message_id, kind, self._person(sender.user), _now()))
            self.history.mark(message_id, kind)
        self._changed()

    def on_typing(self, sender: JID, state: str) -> None:
        self.typing_seen.append(TypingSeen(self._person(sender.user), state, time.monotonic()))
        self._changed()

    def on_failure(self, what: str) -> None:
        self.failures.append(what)
        self._changed()

    def _changed(self) -> None:
        self.version += 1
        self._account.changed = True
        self._news.set()
        self._news = asyncio.Event()

    def _recipient(self, to: str) -> Account:
        account = self._world.find(to)
        if account is None:
            raise UnknownNumber(f"{to} is not on this WhatsApp")
        return account

    def _quote(self, message_id: str) -> Quote:
        found = self.history.find(message_id)
        if found is None:
            raise UnknownMessage(f"the phone {self.number} never saw a message {message_id}")
        author = self._authors.get(message_id, self.line.jid(LID))
        return Quote(message_id, str(author.bare), found[1].text)

    def _person(self, user: str) -> str:
        account = self._world.find(user)
        return account.number if account else user

    def _mentioned(self, address: str) -> str:
        user, _, server = address.partition("@")
        account = self._world.find(user)
        return account.number if account else user if server == PN else address


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
