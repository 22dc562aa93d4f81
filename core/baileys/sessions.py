"""Conversations between two devices: a record of libsignal-node becomes one of libsignal in Go.

The two keep the same ratchet in other words. Three differences matter: node counts what it used last, Go what comes
next; node keeps the seed of a message that did not come yet, Go the keys made of it; and node never forgets a chain.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.baileys.keys import message_keys, private_key
from core.baileys.places import KEY_TYPE, UINT32, Damaged, Place

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_CHAINS, MOST_KEYS = 5, 2000
"""How many receiving chains, and keys of messages that did not come, libsignal keeps."""

_SENDING, _RECEIVING, _OPEN = 1, 2, -1
_NO_CHAIN = bytes(32)


@dataclass(frozen=True, slots=True)
class Own:
    """This side's identity, as libsignal repeats it in every record."""

    identity: bytes = field(repr=False)
    registration_id: int


@dataclass(frozen=True, slots=True)
class Session:
    """A record, and the identity of the other side (32 bytes) that it was made with."""

    record: bytes = field(repr=False)
    their_identity: bytes = field(repr=False)


def session_record(place: Place, own: Own) -> Session | None:
    """libsignal's record of a conversation; None when node's holds none. Raises Damaged."""
    if not isinstance(place.value, dict) or "_sessions" not in place.value:
        place.refuse("bad_buffer", "is not a session of libsignal-node; newer Baileys may write another form")
    entry = _present(place["_sessions"])
    if entry is None:
        return None
    number = entry.get("registrationId") or place["registrationId"]
    state = _state(entry, number.number(), own)
    identity = entry["indexInfo"]["remoteIdentityKey"].public_key()
    return Session(dump({"SessionState": state, "PreviousStates": []}), identity)


def _present(sessions: Place) -> Place | None:
    """The open session; of several, or when none is open, the one used last. Closed ones stay behind: while libsignal
    tries a late message with one of them it damages the present one, and stores it so."""
    ranked: list[tuple[tuple[bool, int], Place]] = []
    damage: Damaged | None = None
    for _, entry in sessions.items():
        try:
            ranked.append((_rank(entry), entry))
        except Damaged as one:  # a closed session that is damaged is no loss
            damage = damage or one
    if damage and not ranked:
        raise damage
    return max(ranked, key=lambda one: one[0])[1] if ranked else None


def _rank(entry: Place) -> tuple[bool, int]:
    index = entry["indexInfo"]
    used = index.get("used")
    return index["closed"].number(_OPEN, 2**53) == _OPEN, used.number(_OPEN, 2**53) if used else 0


def _state(entry: Place, registration_id: int, own: Own) -> dict[str, Any]:
    ratchet, index = entry["currentRatchet"], entry["indexInfo"]
    pair = ratchet["ephemeralKeyPair"]
    private = private_key(pair["privKey"], pair["pubKey"])
    chains = dict(_chains(entry["_chains"]))
    return {
        "LocalIdentityPublic": text64(KEY_TYPE + own.identity),
        "LocalRegistrationID": own.registration_id,
        "NeedsRefresh": False,
        "PendingKeyExchange": None,
        "PendingPreKey": _pending(entry.get("pendingPreKey")),
        "PreviousCounter": ratchet["previousCounter"].number(-1) & UINT32,
        "ReceiverChains": _receiving(chains, ratchet["lastRemoteEphemeralKey"].public_key()),
        "RemoteIdentityPublic": text64(KEY_TYPE + index["remoteIdentityKey"].public_key()),
        "RemoteRegistrationID": registration_id,
        "RootKey": text64(ratchet["rootKey"].data(32)),
        "SenderBaseKey": text64(KEY_TYPE + index["baseKey"].public_key()),
        "SenderChain": _sending(chains, pair["pubKey"].public_key(), private, entry["_chains"]),
        "SessionVersion": 3,
    }


def _chains(places: Place) -> Iterator[tuple[bytes, Place]]:
    """Public ratchet key -> chain, in the order in which they began."""
    for name, chain in places.items():
        yield Place(name, f"{chain.path}.name").public_key(), chain


def _sending(chains: dict[bytes, Place], public: bytes, private: bytes, where: Place) -> dict[str, Any]:
    chain = chains.get(public)
    if chain is None or chain["chainType"].value != _SENDING:
        raise Damaged("missing", where.path, "has no chain to send with, and libsignal fails on such a session")
    chain["chainKey"]["key"].data(32)
    return {**_chain(public, chain), "SenderRatchetKeyPrivate": text64(private), "MessageKeys": []}


def _receiving(chains: dict[bytes, Place], live: bytes) -> list[dict[str, Any]]:
    """The live chain last; before it those that may still bring a message. node keeps the spent ones for ever."""
    kept = [
        _chain(public, chain)
        for public, chain in chains.items()
        if public != live and chain["chainType"].value == _RECEIVING and _is_of_use(chain)
    ]
    return [*kept[1 - MOST_CHAINS :], _live(live, chains.get(live))]


def _is_of_use(chain: Place) -> bool:
    """It has keys of messages that did not come yet, or was not closed: node closes each as the next begins, but not
    those that came from libsignal."""
    return bool(chain["messageKeys"].mapping()) or chain["chainKey"].get("key") is not None


def _live(public: bytes, chain: Place | None) -> dict[str, Any]:
    if chain is None:
        # Nobody has answered yet. libsignal has a chain that was never used in that place; without it the key that
        # the other side began with would be lost on the way back.
        return _go_chain(public, _NO_CHAIN, 0, [])
    chain["chainKey"]["key"].data(32)
    return _chain(public, chain)


def _chain(public: bytes, chain: Place) -> dict[str, Any]:
    """A chain that was closed has no key any more."""
    key, last = chain["chainKey"].get("key"), chain["chainKey"]["counter"].number(-1, UINT32 - 1)
    waiting = sorted(_waiting(chain["messageKeys"]))[-MOST_KEYS:]
    return _go_chain(public, key.data(32) if key else b"", last + 1, [_message_key(*one) for one in waiting])


def _go_chain(public: bytes, key: bytes, index: int, waiting: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "SenderRatchetKeyPublic": text64(KEY_TYPE + public),
        "SenderRatchetKeyPrivate": None,
        "ChainKey": {"Key": text64(key), "Index": index},
        "MessageKeys": waiting,
    }


def _waiting(keys: Place) -> Iterator[tuple[int, bytes]]:
    for name, seed in keys.items():
        if not (name.isascii() and name.isdecimal() and len(name) <= 10 and int(name) <= UINT32):
            seed.refuse("bad_json", "is not kept under a message's number")
        yield int(name), seed.data(32)


def _message_key(index: int, seed: bytes) -> dict[str, Any]:
    cipher, mac, iv = message_keys(seed)
    return {"CipherKey": text64(cipher), "MacKey": text64(mac), "IV": text64(iv), "Index": index}


def _pending(place: Place | None) -> dict[str, Any] | None:
    if place is None:
        return None
    once = place.get("preKeyId")
    return {
        "PreKeyID": {"Value": once.number() if once else 0, "IsEmpty": once is None},
        "SignedPreKeyID": place["signedKeyId"].number(),
        "BaseKey": text64(KEY_TYPE + place["baseKey"].public_key()),
    }


def text64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def dump(value: Any) -> bytes:
    """As Go writes it: no spaces."""
    return json.dumps(value, separators=(",", ":")).encode()
