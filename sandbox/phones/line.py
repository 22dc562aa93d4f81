"""A simulated phone's side of the wire: it encrypts, decrypts, acknowledges, and does the retry dance both ways."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sandbox.phones.bodies import copy_for_own_devices, read_body
from sandbox.server.journal import receipt_ids
from sandbox.server.notices import settings_changed
from sandbox.server.relay import relay_message, relay_receipt, relay_typing
from sandbox.wire.appstate import StateKey, push_name
from sandbox.wire.node import JID, LID, PN, Node

if TYPE_CHECKING:
    import datetime as dt

    from sandbox.phones.bodies import Body
    from sandbox.phones.keys import PhoneKeys
    from sandbox.server.accounts import Account, Device, Endpoint, PreKey
    from sandbox.server.world import World
    from sandbox.wire.appstate import Setting
    from sandbox.wire.node import Attributes

MOST_RETRIES = 5
KEYS_FROM_RETRY = 2  # a second request brings fresh keys, so that the sender begins a new session
_KEPT_SENT, _KEPT_SEEN = 1000, 10_000
_KEY_TYPE = b"\5"


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent to whom (an address without device), kept for those who could not read it."""

    to: JID
    body: bytes


class Listener(Protocol):
    """The person who looks at the phone."""

    def on_body(self, sender: JID, message_id: str, body: Body) -> None: ...
    def on_receipt(self, sender: JID, message_ids: list[str], kind: str) -> None: ...
    def on_typing(self, sender: JID, state: str) -> None: ...
    def on_failure(self, what: str) -> None: ...


class Line:
    """Device 0 of an account. Stanzas that come are read one after another, each in a turn of the event loop."""

    id = 0

    def __init__(self, world: World, account: Account, keys: PhoneKeys, listener: Listener) -> None:
        self.account, self.keys = account, keys
        self.signed = keys.signed_key()
        self.inbox: deque[Node] = deque()
        self.sent: dict[str, Sent] = {}
        self._world, self._listener = world, listener
        self._seen: dict[str, None] = {}
        self._online, self._scheduled = True, False

    # -- as others see it --------------------------------------------------------------------------------------------
    @property
    def identity(self) -> bytes:
        return self.account.key.public

    @property
    def registration(self) -> bytes:
        return self.keys.registration

    @property
    def is_online(self) -> bool:
        return self._online

    @is_online.setter
    def is_online(self, online: bool) -> None:
        self._online = online
        self._schedule()

    @property
    def waiting_count(self) -> int:
        return len(self.inbox)

    def jid(self, server: str) -> JID:
        return self.account.jid(server)

    def take_one_time_key(self) -> PreKey:
        return self.keys.new_one_time_key()

    def deliver(self, node: Node) -> None:
        self.inbox.append(node)
        self.account.changed = True
        self._schedule()

    def hear(self, node: Node) -> None:
        if node.tag == "chatstate" and node.children:
            self._listener.on_typing(node.jid("from"), node.children[0].tag)

    # -- sending -----------------------------------------------------------------------------------------------------
    def send(self, to: Account, body: bytes, message_id: str, at: dt.datetime | None = None) -> None:
        """Encrypt for every device of `to` and every other of mine, and hand it to the server, which tells when it was
        sent: now, or at `at`."""
        sent = Sent(to.jid(LID), body)
        self._remember(message_id, sent)
        targets = [*to.endpoints(), *(self.account.endpoints() if to is not self.account else ())]
        parts = [self._part(target, sent) for target in targets if target is not self]
        attrs: Attributes = {
            "id": message_id,
            "to": sent.to,
            "type": "text",
            "t": str(int(at.timestamp())) if at else None,
            "peer_recipient_pn": to.jid(PN),
        }
        relay_message(self._world, self, Node("message", attrs, [Node("participants", {}, parts)]))

    def read(self, sender: JID, message_id: str) -> None:
        relay_receipt(self._world, self, Node("receipt", {"id": message_id, "to": sender, "type": "read"}))

    def type(self, to: Account, state: str) -> None:
        relay_typing(self._world, self, Node("chatstate", {"to": to.jid(LID)}, [Node(state)]))

    def set(self, setting: Setting) -> None:
        """Change a setting of the account, and tell its linked devices."""
        for device in self.account.devices.values():
            if not device.greeted:
                self._share_settings_key(device)
        patches = self.account.settings.setdefault(setting.collection, [])
        patches.append(self._settings_key().patch(setting, patches))
        self.account.changed = True
        settings_changed(self.account, setting.collection)

    def greet(self, device: Device) -> None:
        """Give a device that was just linked what it needs to read the account's settings, its name first."""
        if self.account.name and not self.account.settings.get("critical_block"):
            self.set(push_name(self.account.name))
        elif not device.greeted:
            self._share_settings_key(device)

    def _settings_key(self) -> StateKey:
        if self.account.settings_key is None:
            self.account.settings_key = StateKey.new()
        return self.account.settings_key

    def _share_settings_key(self, device: Device) -> None:
        device.greeted = True
        kind, data = self.keys.encrypt(device, self._settings_key().share())
        part = Node("to", {"jid": device.jid(LID)}, [_enc(kind, data)])
        attrs: Attributes = {
            "id": secrets.token_hex(9).upper(),
            "to": device.jid(LID),
            "type": "text",
            "category": "peer",
        }
        relay_message(self._world, self, Node("message", attrs, [Node("participants", {}, [part])]))

    def _part(self, target: Endpoint, sent: Sent) -> Node:
        kind, data = self.keys.encrypt(target, self._body_for(target, sent))
        return Node("to", {"jid": target.jid(LID)}, [_enc(kind, data)])

    def _body_for(self, target: Endpoint, sent: Sent) -> bytes:
        own_copy = target.account is self.account and sent.to.user != self.account.lid
        return copy_for_own_devices(str(sent.to), sent.body) if own_copy else sent.body

    def _remember(self, message_id: str, sent: Sent) -> None:
        self.sent[message_id] = sent
        if len(self.sent) > _KEPT_SENT:
            del self.sent[next(iter(self.sent))]
        self.account.changed = True

    # -- receiving ---------------------------------------------------------------------------------------------------
    def _schedule(self) -> None:
        if self.inbox and self._online and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self.inbox and self._online:
            node = self.inbox.popleft()
            self.account.changed = True
            self._world.guard(f"phone {self.account.number} got {node}", lambda: self._take(node))
        self._schedule()

    def _take(self, node: Node) -> None:
        if node.tag == "message":
            self._open(node)
        elif node.tag == "receipt" and node.get("type") == "retry":
            self._resend(node)
        elif node.tag == "receipt":
            self._listener.on_receipt(node.jid("from"), receipt_ids(node), node.get("type") or "delivered")

    def _open(self, node: Node) -> None:
        sender, message_id = node.jid("from"), node.get("id")
        bodies: list[Body] = []
        for enc in node.children:
            if message_id not in self._seen and enc.tag == "enc" and enc.get("type") in ("pkmsg", "msg"):
                try:
                    plain = self.keys.decrypt((self._lid(sender), sender.device), enc.get("type"), enc.data)
                except ValueError as error:
                    self._listener.on_failure(f"{message_id} from {sender}: {error}")
                    self._ask_again(node, enc)
                    return
                self._saw(message_id)
                if body := read_body(plain):
                    bodies.append(body)
        # Delivered before it is shown: whoever looks at it at once says so afterwards.
        relay_receipt(self._world, self, Node("receipt", {"id": message_id, "to": sender}))
        for body in bodies:
            self._listener.on_body(sender, message_id, body)

    def _lid(self, jid: JID) -> str:
        account = self._world.find(jid.user)
        return account.lid if account else jid.user

    def _saw(self, message_id: str) -> None:
        """A message that comes twice, as after a retry that crossed the first copy, is shown once."""
        self._seen[message_id] = None
        if len(self._seen) > _KEPT_SEEN:
            del self._seen[next(iter(self._seen))]

    def _ask_again(self, node: Node, enc: Node) -> None:
        count = int(enc.get("count") or 0) + 1
        if count > MOST_RETRIES:
            return
        retry = {"v": "1", "count": str(count), "id": node.get("id"), "t": node.get("t")}
        parts = [Node("retry", retry), Node("registration", {}, self.registration)]
        if count >= KEYS_FROM_RETRY:
            once = self.take_one_time_key().node()
            keys = [Node("type", {}, _KEY_TYPE), Node("identity", {}, self.identity), once, self.signed.node()]
            parts.append(Node("keys", {}, keys))
        recipient = node.attrs.get("recipient")  # of a copy of what another device of mine sent
        attrs: Attributes = {"id": node.get("id"), "to": node.jid("from"), "type": "retry", "recipient": recipient}
        relay_receipt(self._world, self, Node("receipt", attrs, parts))

    def _resend(self, node: Node) -> None:
        """A device could not read what I sent: begin a new session with it, and send the message once more."""
        sender, message_id, count = node.jid("from"), node.get("id"), node.need("retry").get("count")
        sent, target = self.sent.get(message_id), self._world.endpoint(sender)
        if sent is None or target is None or int(count) > MOST_RETRIES:
            return
        kind, data = self.keys.encrypt(target, self._body_for(target, sent), anew=True)
        attrs: Attributes = {
            "id": message_id,
            "to": sender,
            "type": "text",
            "device_fanout": "false",
            "recipient": sent.to,
        }
        enc = Node("enc", {"v": "2", "type": kind, "count": count}, data)
        relay_message(self._world, self, Node("message", attrs, [enc]))


def _enc(kind: str, data: bytes) -> Node:
    return Node("enc", {"v": "2", "type": kind}, data)
