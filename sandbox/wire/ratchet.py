"""Signal sessions, version 3: the X3DH agreement and the double ratchet.

A session is plain data, so that it can be kept over a restart. Nothing of it changes when a message cannot be read.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass, field

from sandbox.wire import protobuf
from sandbox.wire.keys import KeyPair, decrypt_cbc, encrypt_cbc, hkdf, hmac_of, pad, unpad

VERSION = b"\x33"  # version 3 of the format, spoken by version 3
KEY_TYPE = b"\5"  # public keys carry this byte inside Signal messages
LONGEST_SKIP = 2000  # messages of a chain that may be missing before one that arrives, as in libsignal
_MAC_SIZE, _LONGEST_PADDING = 8, 16


class Undecryptable(ValueError):
    """A message that this session cannot read: a duplicate, a forgery, or one of another session."""


@dataclass(frozen=True, slots=True)
class MessageKeys:
    cipher: bytes
    mac: bytes
    iv: bytes


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of message keys, and how many were taken from it."""

    key: bytes
    count: int = 0

    def step(self) -> tuple[MessageKeys, Chain]:
        keys = hkdf(hmac_of(self.key, b"\1"), b"WhisperMessageKeys", 80)
        return MessageKeys(keys[:32], keys[32:64], keys[64:]), Chain(hmac_of(self.key, b"\2"), self.count + 1)


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a device publishes so that others may begin a session with it. `once` is taken by one of them only."""

    identity: bytes
    signed_id: int
    signed: bytes
    once_id: int | None = None
    once: bytes | None = None


@dataclass(frozen=True, slots=True)
class FirstMessage:
    """The head of a PreKeySignalMessage: how the other side begins its half of the session."""

    base: bytes
    identity: bytes
    signed_id: int
    once_id: int | None
    inner: bytes

    @classmethod
    def read(cls, data: bytes) -> FirstMessage:
        message = protobuf.decode(data[1:])
        once = message.number(1) if 1 in message else None
        return cls(message.data(2)[1:], message.data(3)[1:], message.number(6), once, message.data(4))


@dataclass(slots=True)
class Session:
    """One side of a conversation between two devices."""

    me: bytes  # my public identity key
    them: bytes
    base: bytes  # the initiator's first key, which names the session
    root: bytes
    ratchet: KeyPair
    sending: Chain
    previous: int = 0  # messages sent in the sending chain before this one
    receiving: dict[bytes, Chain] = field(default_factory=dict)  # by their ratchet key
    skipped: dict[bytes, dict[int, MessageKeys]] = field(default_factory=dict)  # by ratchet key and number
    registration: int = 0
    signed_id: int = 0
    once_id: int | None = None
    answered: bool = True  # until they answer, each message says how to begin

    @classmethod
    def start(cls, me: KeyPair, registration: int, bundle: Bundle) -> Session:
        """Begin a session with the owner of `bundle`."""
        base, ratchet = KeyPair.new(), KeyPair.new()
        secret = b"\xff" * 32 + me.dh(bundle.signed) + base.dh(bundle.identity) + base.dh(bundle.signed)
        if bundle.once is not None:
            secret += base.dh(bundle.once)
        keys = hkdf(secret, b"WhisperText", 64)
        root, sending = _mix(keys[:32], ratchet, bundle.signed)
        session = cls(me.public, bundle.identity, base.public, root, ratchet, sending)
        session.receiving[bundle.signed] = Chain(keys[32:])
        session.registration, session.signed_id, session.once_id = registration, bundle.signed_id, bundle.once_id
        session.answered = False
        return session

    @classmethod
    def accept(cls, me: KeyPair, signed: KeyPair, once: KeyPair | None, first: FirstMessage) -> Session:
        """The other half of a session that somebody began with my keys."""
        secret = b"\xff" * 32 + signed.dh(first.identity) + me.dh(first.base) + signed.dh(first.base)
        if once is not None:
            secret += once.dh(first.base)
        keys = hkdf(secret, b"WhisperText", 64)
        return cls(me.public, first.identity, first.base, keys[:32], signed, Chain(keys[32:]))

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        """(type of enc: "pkmsg" or "msg", bytes)."""
        count = self.sending.count
        keys, self.sending = self.sending.step()
        body = encrypt_cbc(keys.cipher, keys.iv, pad(plaintext, os.urandom(1)[0] % 15 + 1))
        fields: protobuf.Fields = {1: KEY_TYPE + self.ratchet.public, 2: count, 3: self.previous, 4: body}
        message = VERSION + protobuf.encode(fields)
        message += _mac(keys, self.me, self.them, message)
        if self.answered:
            return "msg", message
        head: protobuf.Fields = {1: self.once_id, 2: KEY_TYPE + self.base, 3: KEY_TYPE + self.me}
        tail: protobuf.Fields = {4: message, 5: self.registration, 6: self.signed_id}
        return "pkmsg", VERSION + protobuf.encode({**head, **tail})

    def decrypt(self, data: bytes) -> bytes:
        """The plaintext of a SignalMessage. Raises Undecryptable or Malformed, and is then as it was before."""
        message = protobuf.decode(data[1:-_MAC_SIZE])
        theirs, number = message.data(1)[1:], message.number(2)
        turned = None if theirs in self.receiving else _mix(self.root, self.ratchet, theirs)
        keys, chain, skipped = self._keys(theirs, number, turned[1] if turned else self.receiving[theirs])
        expected = _mac(keys, self.them, self.me, data[:-_MAC_SIZE])
        if not hmac.compare_digest(data[-_MAC_SIZE:], expected):
            raise Undecryptable("the message is not authentic in this session")
        plain = decrypt_cbc(keys.cipher, keys.iv, message.data(4))
        self._advance(theirs, number, chain, skipped, turned[0] if turned else None)
        return unpad(plain, _LONGEST_PADDING)

    def _keys(self, theirs: bytes, number: int, chain: Chain) -> tuple[MessageKeys, Chain, dict[int, MessageKeys]]:
        """The keys of one message, the chain after it, and the keys of those before it that did not come yet."""
        if kept := self.skipped.get(theirs, {}).get(number):
            return kept, chain, {}
        if number < chain.count:
            raise Undecryptable(f"message {number} of its chain was read before")
        if number - chain.count > LONGEST_SKIP:
            raise Undecryptable(f"{number - chain.count} messages are missing before this one")
        skipped: dict[int, MessageKeys] = {}
        while True:
            at = chain.count
            keys, chain = chain.step()
            if at == number:
                return keys, chain, skipped
            skipped[at] = keys

    def _advance(
        self, theirs: bytes, number: int, chain: Chain, skipped: dict[int, MessageKeys], root: bytes | None
    ) -> None:
        self.answered = True
        self.receiving[theirs] = chain
        kept = self.skipped.setdefault(theirs, {})
        kept.pop(number, None)
        kept.update(skipped)
        if root is not None:
            self.previous = max(self.sending.count - 1, 0)
            self.ratchet = KeyPair.new()
            self.root, self.sending = _mix(root, self.ratchet, theirs)
            self._forget_old_chains()

    def _forget_old_chains(self) -> None:
        """Keep the newest five chains, as libsignal does."""
        for old in list(self.receiving)[:-5]:
            del self.receiving[old]
            self.skipped.pop(old, None)


def _mix(root: bytes, ratchet: KeyPair, theirs: bytes) -> tuple[bytes, Chain]:
    keys = hkdf(ratchet.dh(theirs), b"WhisperRatchet", 64, root)
    return keys[:32], Chain(keys[32:])


def _mac(keys: MessageKeys, sender: bytes, receiver: bytes, body: bytes) -> bytes:
    return hmac_of(keys.mac, KEY_TYPE + sender + KEY_TYPE + receiver + body)[:_MAC_SIZE]
