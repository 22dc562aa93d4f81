"""Keys of groups: libsignal-node's states, newest last, become libsignal's, newest first. Nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.baileys.keys import group_message_keys, private_key
from core.baileys.places import KEY_TYPE, Place, parse_json
from core.baileys.sessions import MOST_KEYS, dump, text64

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_STATES = 5
"""How many keys of one sender libsignal keeps."""


def sender_key_record(place: Place) -> bytes | None:
    """libsignal's record of one sender in one group; None when node's is empty. Raises Damaged.

    Baileys 7 wrote a Buffer of JSON text, 6 the list itself.
    """
    states = place if isinstance(place.value, list) else parse_json(place.data())
    found = [_state(one) for one in states.elements()]
    return dump({"SenderKeyStates": found[::-1][:MOST_STATES]}) if found else None


def _state(place: Place) -> dict[str, Any]:
    signing, chain = place["senderSigningKey"], place["senderChainKey"]
    private = _private(signing)
    # Baileys skips every second iteration of its own key and hoards the keys of those: nobody will ask for them.
    waiting = [] if private else sorted(_waiting(place.get("senderMessageKeys")))[-MOST_KEYS:]
    return {
        "Keys": [_message_key(*one) for one in waiting],
        "KeyID": place["senderKeyId"].number(),
        "SenderChainKey": {
            "Iteration": chain["iteration"].number(),
            "ChainKey": text64(chain["seed"].data(32)),
        },
        "SigningKeyPrivate": text64(private) if private else None,
        "SigningKeyPublic": text64(KEY_TYPE + signing["public"].public_key()),
    }


def _private(signing: Place) -> bytes | None:
    """Of our own key only. None is written in four ways, 32 zeros among them."""
    place = signing.get("private")
    if place is None or not any(place.data(0, 32)):
        return None
    return private_key(place, signing["public"])


def _waiting(keys: Place | None) -> Iterator[tuple[int, bytes]]:
    """Keys of messages that did not come yet. Baileys 6 wrote `{}` for them: those are lost already."""
    for one in keys.elements() if keys else ():
        if one.mapping():
            yield one["iteration"].number(), one["seed"].data(32)


def _message_key(iteration: int, seed: bytes) -> dict[str, Any]:
    iv, cipher = group_message_keys(seed)
    return {"Iteration": iteration, "IV": text64(iv), "CipherKey": text64(cipher), "Seed": text64(seed)}
