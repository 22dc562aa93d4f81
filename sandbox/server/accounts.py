"""Accounts, and the devices that stanzas are delivered to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from sandbox.wire.keys import KeyPair
from sandbox.wire.node import JID, PN, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.phones.phone import Phone
    from sandbox.server.connection import Connection
    from sandbox.wire.appstate import StateKey

Key = tuple[str, str, str, str]
"""What an acknowledgement names a stanza by: tag, id, who it is from, type."""


@dataclass(frozen=True, slots=True)
class PreKey:
    """A published key, as it is uploaded: a 3-byte number, 32 bytes, and a signature when it is the signed one."""

    id: bytes
    public: bytes
    signature: bytes | None = None

    @classmethod
    def read(cls, node: Node) -> PreKey:
        signature = node.child("signature")
        return cls(node.need("id").data, node.need("value").data, signature.data if signature else None)

    def node(self) -> Node:
        parts = [Node("id", {}, self.id), Node("value", {}, self.public)]
        if self.signature is None:
            return Node("key", {}, parts)
        return Node("skey", {}, [*parts, Node("signature", {}, self.signature)])

    @property
    def number(self) -> int:
        return int.from_bytes(self.id, "big")


class Endpoint(Protocol):
    """A device of an account as others see it: a linked client, or a simulated phone."""

    @property
    def id(self) -> int: ...
    @property
    def account(self) -> Account: ...
    @property
    def identity(self) -> bytes: ...
    @property
    def registration(self) -> bytes: ...
    @property
    def signed(self) -> PreKey: ...
    @property
    def is_online(self) -> bool: ...
    @property
    def waiting_count(self) -> int: ...

    def jid(self, server: str) -> JID: ...
    def take_one_time_key(self) -> PreKey | None:
        """A key that nobody else gets, or None when they have run out."""
        ...

    def deliver(self, node: Node) -> None:
        """Hand over a stanza now, or keep it until the device is there."""
        ...

    def hear(self, node: Node) -> None:
        """Hand over a stanza if the device is there; it is not kept."""
        ...


@dataclass(slots=True)
class Device:
    """A linked client. Its stanzas wait until it acknowledges them, and come again after a login until it does."""

    account: Account
    id: int
    noise: bytes
    identity: bytes
    registration: bytes
    signed: PreKey
    one_time: list[PreKey] = field(default_factory=list)
    waiting: dict[Key, Node] = field(default_factory=dict)
    asked_for: set[str] = field(default_factory=set)  # LIDs whose list of devices it may remember
    greeted: bool = False  # the phone has told it the account's settings
    connection: Connection | None = None

    def jid(self, server: str) -> JID:
        return self.account.jid(server, self.id)

    @property
    def is_online(self) -> bool:
        return self.connection is not None and self.connection.active

    @property
    def waiting_count(self) -> int:
        return len(self.waiting)

    def take_one_time_key(self) -> PreKey | None:
        return self.one_time.pop(0) if self.one_time else None

    def deliver(self, node: Node) -> None:
        key = node.tag, node.get("id"), node.get("from"), "" if node.tag == "message" else node.get("type")
        self.waiting.pop(key, None)
        self.waiting[key] = node
        self.account.changed = True
        self.hear(node)

    def hear(self, node: Node) -> None:
        if self.connection is not None and self.connection.active:
            self.connection.send(node)

    def settle(self, key: Key) -> Node | None:
        """The device has the stanza, which is given back if it was waiting."""
        node = self.waiting.pop(key, None)
        if node is not None:
            self.account.changed = True
        return node


@dataclass(slots=True)
class Account:
    """A phone number. Its key pair is the phone's Signal identity, which also signs linked devices."""

    number: str
    lid: str
    name: str = ""
    key: KeyPair = field(default_factory=KeyPair.new)
    devices: dict[int, Device] = field(default_factory=dict)
    phone: Phone | None = None
    settings: dict[str, list[bytes]] = field(default_factory=dict)  # app state: collection, its patches
    settings_key: StateKey | None = None
    last_device: int = 0
    hides_number: bool = False  # its messages tell nobody its number; not written to disk
    changed: bool = True  # since it was last written to disk

    def jid(self, server: str = PN, device: int = 0) -> JID:
        return JID(self.number if server == PN else self.lid, server, device)

    def endpoints(self) -> Iterator[Endpoint]:
        """Every device that a message to this account is encrypted for."""
        if self.phone is not None:
            yield self.phone.line
        yield from self.devices.values()

    def endpoint(self, number: int) -> Endpoint | None:
        if number == 0:
            return self.phone.line if self.phone else None
        return self.devices.get(number)
