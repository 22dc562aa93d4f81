"""App state ("syncd"): settings that a phone shares with its linked devices, as encrypted patches of collections.

A patch names its settings by an HMAC, and proves the whole collection by a homomorphic hash (LTHash) of all its values.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.wire import protobuf
from sandbox.wire.keys import encrypt_cbc, hkdf, hmac_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_SET, _MAC_SIZE, _WORDS = 0, 32, 64
_KEY_SHARE = 6  # ProtocolMessage.Type APP_STATE_SYNC_KEY_SHARE


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting: in which collection, under which index, as fields of a SyncActionValue of which version."""

    collection: str
    index: tuple[str, ...]
    value: protobuf.Fields
    version: int


def push_name(name: str) -> Setting:
    return Setting("critical_block", ("setting_pushName",), {7: {1: name}}, 1)


def contact(jid: str, name: str, lid: str) -> Setting:
    """An entry of the phone's address book."""
    return Setting("critical_unblock_low", ("contact", jid), {3: {1: name, 2: name.partition(" ")[0], 3: lid}}, 2)


@dataclass(frozen=True, slots=True)
class StateKey:
    """The key that a phone encrypts its settings with. id: 6 bytes; data: 32."""

    id: bytes
    data: bytes

    @classmethod
    def new(cls) -> StateKey:
        return cls(b"\0\0" + os.urandom(4), os.urandom(32))

    def share(self) -> bytes:
        """The Message by which a phone gives the key to a linked device."""
        fingerprint: protobuf.Fields = {1: 1, 2: 1, 3: b"\0\1"}
        key: protobuf.Fields = {1: {1: self.id}, 2: {1: self.data, 2: fingerprint, 3: _milliseconds()}}
        return protobuf.encode({12: {2: _KEY_SHARE, 7: {1: [key]}}})

    def patch(self, setting: Setting, earlier: Sequence[bytes]) -> bytes:
        """The patch that makes `setting` after the `earlier` patches of its collection."""
        index_key, value_key, value_mac, snapshot_key, patch_key = self._keys()
        index = json.dumps(setting.index, separators=(",", ":")).encode()
        action: protobuf.Fields = {1: index, 2: {1: _milliseconds(), **setting.value}, 3: b"", 4: setting.version}
        iv = os.urandom(16)
        sealed = iv + encrypt_cbc(value_key, iv, protobuf.encode(action))
        bound = bytes([_SET + 1]) + self.id + sealed + (len(self.id) + 1).to_bytes(8, "big")
        mac = hmac_of(value_mac, bound, "sha512")[:_MAC_SIZE]
        record: protobuf.Fields = {1: {1: hmac_of(index_key, index)}, 2: {1: sealed + mac}, 3: {1: self.id}}
        mutation: protobuf.Fields = {2: {1: _SET, 2: record}}
        version = len(earlier) + 1
        tail = version.to_bytes(8, "big") + setting.collection.encode()
        snapshot = hmac_of(snapshot_key, lthash([*earlier, protobuf.encode(mutation)]) + tail)
        proof: protobuf.Fields = {4: snapshot, 5: hmac_of(patch_key, snapshot + mac + tail), 6: {1: self.id}}
        return numbered(protobuf.encode({**mutation, **proof}), version)

    def _keys(self) -> tuple[bytes, ...]:
        """For the index, the value, the value's MAC, the snapshot's MAC, the patch's MAC."""
        keys = hkdf(self.data, b"WhatsApp Mutation Keys", 160)
        return tuple(keys[at : at + 32] for at in range(0, 160, 32))


def numbered(patch: bytes, version: int) -> bytes:
    """The patch with its version put in front: clients send theirs without."""
    return protobuf.encode({1: {1: version}}) + patch


def lthash(patches: Sequence[bytes]) -> bytes:
    """The 128-byte hash of a collection after these patches."""
    words, held = [0] * _WORDS, dict[bytes, bytes]()
    for mutation in (mutation for patch in patches for mutation in protobuf.decode(patch).messages(2)):
        record = mutation.message(2)
        index, mac = record.message(1).data(1), record.message(2).data(1)[-_MAC_SIZE:]
        if index in held:
            _add(words, held.pop(index), -1)
        if mutation.number(1) == _SET:
            held[index] = mac
            _add(words, mac, 1)
    return b"".join(word.to_bytes(2, "little") for word in words)


def _add(words: list[int], mac: bytes, sign: int) -> None:
    stretched = hkdf(mac, b"WhatsApp Patch Integrity", 2 * _WORDS)
    for at in range(_WORDS):
        words[at] = (words[at] + sign * int.from_bytes(stretched[2 * at : 2 * at + 2], "little")) & 0xFFFF


def _milliseconds() -> int:
    return int(time.time() * 1000)
