"""Small models of the two libraries, working on the very JSON that they store: what one reads is what it would read.

`GoRecord` does as go.mau.fi/libsignal, `NodeRecord` as libsignal-node. Neither is meant for anything but tests.
"""

from __future__ import annotations

import base64
import copy
import hmac
from dataclasses import dataclass
from typing import Any

from core.baileys.keys import message_keys
from sandbox.wire import protobuf
from sandbox.wire.keys import KeyPair, decrypt_cbc, encrypt_cbc, hkdf, hmac_of

UINT32 = 2**32 - 1
TYPE = b"\5"


class NotRead(Exception):
    """A message that a record cannot read, for the reason that its library would have."""


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def raw(text: str) -> bytes:
    return base64.b64decode(text)


@dataclass(frozen=True)
class Message:
    """A SignalMessage, taken apart."""

    data: bytes
    ratchet: str
    number: int
    previous: int
    body: bytes

    @classmethod
    def read(cls, data: bytes) -> Message:
        fields = protobuf.decode(data[1:-8])
        return cls(data, b64(fields.data(1)), fields.number(2), fields.number(3), fields.data(4))

    def opened(self, keys: tuple[bytes, bytes, bytes], sender: bytes, receiver: bytes) -> bytes:
        cipher, mac, iv = keys
        if not hmac.compare_digest(hmac_of(mac, sender + receiver + self.data[:-8])[:8], self.data[-8:]):
            raise NotRead("bad MAC")
        return decrypt_cbc(cipher, iv, self.body)


def closed(
    keys: tuple[bytes, bytes, bytes], text: bytes, head: dict[int, Any], sender: bytes, receiver: bytes
) -> bytes:
    cipher, mac, iv = keys
    data = b"\x33" + protobuf.encode({**head, 4: encrypt_cbc(cipher, iv, text)})
    return data + hmac_of(mac, sender + receiver + data)[:8]


def turned(root: str, private: str, theirs: str) -> tuple[str, str]:
    """(new root, key of a new chain)."""
    keys = hkdf(KeyPair.of(raw(private)).dh(raw(theirs)[1:]), b"WhisperRatchet", 64, raw(root))
    return b64(keys[:32]), b64(keys[32:])


class GoRecord:
    """`state` is the SessionState of whatsmeow_sessions.session."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    @classmethod
    def accepted(cls, me: KeyPair, signed: KeyPair, once: KeyPair | None, data: bytes) -> tuple[GoRecord, bytes]:
        """The session that a PreKeySignalMessage begins, and the message inside."""
        head = protobuf.decode(data[1:])
        base, them = head.data(2), head.data(3)
        secret = b"\xff" * 32 + signed.dh(them[1:]) + me.dh(base[1:]) + signed.dh(base[1:])
        keys = hkdf(secret + (once.dh(base[1:]) if once else b""), b"WhisperText", 64)
        sending = chain(b64(TYPE + signed.public), b64(keys[32:]), b64(signed.private))
        state = {
            "LocalIdentityPublic": b64(TYPE + me.public),
            "PreviousCounter": 0,
            "ReceiverChains": [],
            "RemoteIdentityPublic": b64(them),
            "RootKey": b64(keys[:32]),
            "SenderBaseKey": b64(base),
            "SenderChain": sending,
        }
        return cls(state), head.data(4)

    def encrypt(self, text: bytes) -> bytes:
        s, sending = self.state, self.state["SenderChain"]
        head = {1: raw(sending["SenderRatchetKeyPublic"]), 2: sending["ChainKey"]["Index"], 3: s["PreviousCounter"]}
        keys = step(sending["ChainKey"])
        return closed(keys, text, head, raw(s["LocalIdentityPublic"]), raw(s["RemoteIdentityPublic"]))

    def decrypt(self, data: bytes) -> bytes:
        message, s = Message.read(data), copy.deepcopy(self.state)
        known = [one for one in s["ReceiverChains"] if one["SenderRatchetKeyPublic"] == message.ratchet]
        receiving = known[0] if known else self.turn(s, message.ratchet)
        keys = self.keys_of(receiving, message.number)
        text = message.opened(keys, raw(s["RemoteIdentityPublic"]), raw(s["LocalIdentityPublic"]))
        s["PendingPreKey"] = None
        self.state = s
        return text

    @staticmethod
    def turn(s: dict[str, Any], theirs: str) -> dict[str, Any]:
        sending = s["SenderChain"]
        s["RootKey"], key = turned(s["RootKey"], sending["SenderRatchetKeyPrivate"], theirs)
        receiving, fresh = chain(theirs, key), KeyPair.new()
        s["ReceiverChains"] = [*s["ReceiverChains"], receiving][-5:]
        s["PreviousCounter"] = (sending["ChainKey"]["Index"] - 1) & UINT32
        s["RootKey"], key = turned(s["RootKey"], b64(fresh.private), theirs)
        s["SenderChain"] = chain(b64(TYPE + fresh.public), key, b64(fresh.private))
        return receiving

    @staticmethod
    def keys_of(receiving: dict[str, Any], number: int) -> tuple[bytes, bytes, bytes]:
        kept = receiving["MessageKeys"]
        for at, one in enumerate(kept):
            if one["Index"] == number:
                del kept[at]
                return raw(one["CipherKey"]), raw(one["MacKey"]), raw(one["IV"])
        if number < receiving["ChainKey"]["Index"] or number - receiving["ChainKey"]["Index"] > 2000:
            raise NotRead("an old counter, or one from the far future")
        while True:
            index = receiving["ChainKey"]["Index"]
            cipher, mac, iv = step(receiving["ChainKey"])
            if index == number:
                return cipher, mac, iv
            kept.append({"CipherKey": b64(cipher), "MacKey": b64(mac), "IV": b64(iv), "Index": index})


def chain(public: str, key: str, private: str | None = None) -> dict[str, Any]:
    return {
        "SenderRatchetKeyPublic": public,
        "SenderRatchetKeyPrivate": private,
        "ChainKey": {"Key": key, "Index": 0},
        "MessageKeys": [],
    }


def step(key: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
    now = raw(key["Key"])
    key["Key"], key["Index"] = b64(hmac_of(now, b"\2")), key["Index"] + 1
    return message_keys(hmac_of(now, b"\1"))


class NodeRecord:
    """`record` is the value of `session-…`. `me`: this side's public identity, 33 bytes."""

    def __init__(self, record: dict[str, Any], me: bytes) -> None:
        self.record, self.me = record, me

    @classmethod
    def pair(cls) -> tuple[NodeRecord, NodeRecord]:
        """Two that have agreed on a secret: the first may write, the second waits for it."""
        alice, bob, base, signed = (KeyPair.new() for _ in range(4))
        root = b64(KeyPair.new().private)
        a = _entry(base.public, KeyPair.new(), signed.public, root, bob.public)
        a["pendingPreKey"] = {"signedKeyId": 1, "baseKey": b64(TYPE + base.public), "preKeyId": 7}
        a["indexInfo"]["baseKeyType"] = 1
        b = _entry(base.public, signed, base.public, root, alice.public)
        first = cls(_record(base.public, a), TYPE + alice.public)
        first._add_chain(a, b64(TYPE + signed.public), sending=True)
        return first, cls(_record(base.public, b), TYPE + bob.public)

    @property
    def entry(self) -> dict[str, Any]:
        [found] = [one for one in self.record["_sessions"].values() if one["indexInfo"]["closed"] == -1]
        return found

    def encrypt(self, text: bytes) -> bytes:
        s = self.entry
        own = s["currentRatchet"]["ephemeralKeyPair"]["pubKey"]
        sending = s["_chains"][own]
        number = sending["chainKey"]["counter"] + 1
        _fill(sending, number)
        keys = message_keys(raw(sending["messageKeys"].pop(str(number))))
        head = {1: raw(own), 2: number, 3: s["currentRatchet"]["previousCounter"] & UINT32}
        return closed(keys, text, head, self.me, raw(s["indexInfo"]["remoteIdentityKey"]))

    def decrypt(self, data: bytes) -> bytes:
        before = copy.deepcopy(self.record)
        try:
            return self._decrypt(Message.read(data))
        except NotRead:
            self.record = before
            raise

    def _decrypt(self, message: Message) -> bytes:
        s = self.entry
        if message.ratchet not in s["_chains"]:
            self._turn(s, message)
        receiving = s["_chains"][message.ratchet]
        _fill(receiving, message.number)
        seed = receiving["messageKeys"].pop(str(message.number), None)
        if seed is None:
            raise NotRead("key used already or never filled")
        text = message.opened(message_keys(raw(seed)), raw(s["indexInfo"]["remoteIdentityKey"]), self.me)
        s.pop("pendingPreKey", None)
        return text

    def _turn(self, s: dict[str, Any], message: Message) -> None:
        ratchet = s["currentRatchet"]
        if previous := s["_chains"].get(ratchet["lastRemoteEphemeralKey"]):
            _fill(previous, message.previous)
            previous["chainKey"].pop("key", None)
        self._add_chain(s, message.ratchet, sending=False)
        if sent := s["_chains"].pop(ratchet["ephemeralKeyPair"]["pubKey"], None):
            ratchet["previousCounter"] = sent["chainKey"]["counter"]
        fresh = KeyPair.new()
        ratchet["ephemeralKeyPair"] = {"pubKey": b64(TYPE + fresh.public), "privKey": b64(fresh.private)}
        self._add_chain(s, message.ratchet, sending=True)
        ratchet["lastRemoteEphemeralKey"] = message.ratchet

    def _add_chain(self, s: dict[str, Any], theirs: str, *, sending: bool) -> None:
        ratchet = s["currentRatchet"]
        ratchet["rootKey"], key = turned(ratchet["rootKey"], ratchet["ephemeralKeyPair"]["privKey"], theirs)
        name = ratchet["ephemeralKeyPair"]["pubKey"] if sending else theirs
        made = {"chainKey": {"counter": -1, "key": key}, "chainType": 1 if sending else 2, "messageKeys": {}}
        s["_chains"][name] = made


def _record(base: bytes, entry: dict[str, Any]) -> dict[str, Any]:
    return {"_sessions": {b64(TYPE + base): entry}, "version": "v1"}


def _entry(base: bytes, own: KeyPair, last: bytes, root: str, them: bytes) -> dict[str, Any]:
    return {
        "registrationId": 21,
        "currentRatchet": {
            "ephemeralKeyPair": {"pubKey": b64(TYPE + own.public), "privKey": b64(own.private)},
            "lastRemoteEphemeralKey": b64(TYPE + last),
            "previousCounter": 0,
            "rootKey": root,
        },
        "indexInfo": {
            "baseKey": b64(TYPE + base), "baseKeyType": 2, "closed": -1, "used": 1, "created": 1,
            "remoteIdentityKey": b64(TYPE + them),
        },
        "_chains": {},
    }  # fmt: skip


def _fill(chain: dict[str, Any], number: int) -> None:
    key = chain["chainKey"]
    if key["counter"] >= number:
        return
    if number - key["counter"] > 2000:
        raise NotRead("over 2000 messages into the future")
    if "key" not in key:
        raise NotRead("chain closed")
    while key["counter"] < number:
        now = raw(key["key"])
        key["counter"] += 1
        chain["messageKeys"][str(key["counter"])] = b64(hmac_of(now, b"\1"))
        key["key"] = b64(hmac_of(now, b"\2"))
