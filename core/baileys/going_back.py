"""Records of libsignal in Go become those of libsignal-node."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.baileys.places import KEY_TYPE, UINT32, Place, parse_json
from core.baileys.sessions import text64

if TYPE_CHECKING:
    from collections.abc import Iterator


class NotConverted(ValueError):
    """A record that Baileys has no form for."""


@dataclass(slots=True)
class Stamp:
    """The time that sessions are marked with, and how many keys of messages that did not come were left behind."""

    now_ms: int
    lost: int = 0


def node_session(record: bytes, stamp: Stamp) -> dict[str, Any]:
    """The present session of a record. Raises NotConverted or Damaged."""
    state = parse_json(record)["SessionState"]
    base = state["SenderBaseKey"].public_key()
    pending = state.get("PendingPreKey")
    chains, newest = _receiving(state, stamp)
    sending = state.get("SenderChain")
    if not newest or sending is None:
        raise NotConverted("it never sent or never heard anything")
    public = sending["SenderRatchetKeyPublic"].public_key()
    chains[_key(public)] = _chain(sending, kind=1)
    entry = {
        "registrationId": state["RemoteRegistrationID"].number(),
        "currentRatchet": {
            "ephemeralKeyPair": {
                "pubKey": _key(public),
                "privKey": text64(sending["SenderRatchetKeyPrivate"].data(32)),
            },
            "lastRemoteEphemeralKey": _key(newest),
            "previousCounter": _signed(state["PreviousCounter"].number()),
            "rootKey": text64(state["RootKey"].data(32)),
        },
        "indexInfo": {
            "baseKey": _key(base),
            "baseKeyType": 1 if pending and pending["BaseKey"].public_key() == base else 2,
            "closed": -1,
            "used": stamp.now_ms,
            "created": stamp.now_ms,
            "remoteIdentityKey": _key(state["RemoteIdentityPublic"].public_key()),
        },
        "_chains": chains,
        **({"pendingPreKey": _pending(pending)} if pending else {}),
    }
    return {"_sessions": {_key(base): entry}, "version": "v1"}


def _receiving(state: Place, stamp: Stamp) -> tuple[dict[str, Any], bytes]:
    """(the chains, the ratchet key of the newest). A chain that was never used is only there for its key: node would
    take it for 2,000 messages that it missed. Older chains keep theirs: Go never closes them."""
    chains: dict[str, Any] = {}
    newest = b""
    for chain in _elements(state, "ReceiverChains"):
        newest = chain["SenderRatchetKeyPublic"].public_key()
        waiting = len(list(_elements(chain, "MessageKeys")))
        stamp.lost += waiting
        if chain["ChainKey"]["Index"].number() or waiting:
            chains[_key(newest)] = _chain(chain, kind=2)
    return chains, newest


def _chain(chain: Place, kind: int) -> dict[str, Any]:
    key = chain["ChainKey"].get("Key")
    known = key.data(0, 32) if key else b""
    counter = {"counter": chain["ChainKey"]["Index"].number() - 1}
    return {
        "chainKey": {**counter, "key": text64(known)} if known else counter,
        "chainType": kind,
        "messageKeys": {},
    }


def _pending(place: Place) -> dict[str, Any]:
    found = {"signedKeyId": place["SignedPreKeyID"].number(), "baseKey": _key(place["BaseKey"].public_key())}
    once = place.get("PreKeyID")
    if once is None or once["IsEmpty"].value is True:
        return found
    return {**found, "preKeyId": once["Value"].number()}


def node_sender_key(record: bytes) -> bytes:
    """The JSON text of a sender's states in one group, with inner Buffers in base64: as Baileys reads them again."""
    states = [_sender_state(place) for place in _elements(parse_json(record), "SenderKeyStates")]
    if not states:
        raise NotConverted("it holds no key")
    return json.dumps(states[::-1], separators=(",", ":")).encode()


def _sender_state(place: Place) -> dict[str, Any]:
    private = place.get("SigningKeyPrivate")
    known = private.data(0, 32) if private else b""
    return {
        "senderKeyId": place["KeyID"].number(),
        "senderChainKey": {
            "iteration": place["SenderChainKey"]["Iteration"].number(),
            "seed": _buffer(place["SenderChainKey"]["ChainKey"].data(32)),
        },
        "senderSigningKey": {
            "public": _buffer(KEY_TYPE + place["SigningKeyPublic"].public_key()),
            "private": _buffer(known if any(known) else b""),
        },
        "senderMessageKeys": [
            {"iteration": key["Iteration"].number(), "seed": _buffer(key["Seed"].data(32))}
            for key in _elements(place, "Keys")
        ],
    }


def _elements(place: Place, name: str) -> Iterator[Place]:
    """Go writes null for an empty list."""
    found = place.get(name)
    return found.elements() if found else iter(())


def _signed(counter: int) -> int:
    return -1 if counter == UINT32 else counter


def _key(public: bytes) -> str:
    return text64(KEY_TYPE + public)


def _buffer(data: bytes) -> dict[str, str]:
    return {"type": "Buffer", "data": text64(data)}
