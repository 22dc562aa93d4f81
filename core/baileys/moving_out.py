"""The way back: rows of whatsmeow's store become what Baileys 7 keeps.

Keys of messages that did not come yet are lost: Baileys keeps the seed from which whatsmeow made them. So are archived
sessions.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.baileys.app_state import fingerprint
from core.baileys.going_back import NotConverted, Stamp, node_sender_key, node_session
from core.baileys.keys import public_of
from core.baileys.places import KEY_TYPE, Damaged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from core.baileys.moving_in import Extra
    from core.whatsmeow_rows import DeviceRow, Rows

_FRESH: Mapping[str, Any] = {
    "processedHistoryMessages": [],
    "accountSyncCounter": 0,
    "accountSettings": {"unarchiveChats": False},
    "registered": False,
}


@dataclass(frozen=True, slots=True)
class Baileys:
    """A login as Baileys keeps it, as JSON values. `lost`: how many keys of messages that did not come yet are gone;
    `skipped`: the names of rows that could not be converted."""

    creds: Mapping[str, Any] = field(repr=False)
    keys: Mapping[str, Any] = field(repr=False)
    lost: int = 0
    skipped: tuple[str, ...] = ()


def write_login(rows: Rows, extra: Extra, now_ms: int) -> Baileys:
    """Convert. `extra`: what was kept aside when the login came; `now_ms`: the stamp that sessions get."""
    keys: dict[str, Any] = {}
    skipped: list[str] = []
    stamp = Stamp(now_ms)
    for row in rows.pre_keys:
        keys[f"pre-key-{row.key_id}"] = _pair(row.key)
    for session in rows.sessions:
        name = f"session-{_address(session.their_id)}"
        try:
            keys[name] = node_session(session.session, stamp)
        except (NotConverted, Damaged):
            skipped.append(name)
    for identity in rows.identities:
        keys[f"identity-key-{_address(identity.their_id)}"] = buffer(KEY_TYPE + identity.identity)
    for sender in rows.sender_keys:
        name = f"sender-key-{sender.chat_id}::{sender.sender_id.replace(':', '::')}"
        try:
            keys[name] = buffer(node_sender_key(sender.sender_key))
        except (NotConverted, Damaged):
            skipped.append(name)
    for name, value in _app_state(rows):
        keys[name] = value
    for lid in rows.lids:
        keys[f"lid-mapping-{lid.pn}"], keys[f"lid-mapping-{lid.lid}_reverse"] = lid.lid, lid.pn
    for token in rows.privacy_tokens:
        keys[f"tctoken-{token.their_jid}"] = _token(token.token, token.timestamp, token.sender_timestamp)
    return Baileys(_creds(rows, extra), {**keys, **extra.keys}, stamp.lost, tuple(skipped))


def buffer(data: bytes) -> dict[str, str]:
    """As Baileys' BufferJSON writes it."""
    return {"type": "Buffer", "data": _b64(data)}


def _creds(rows: Rows, extra: Extra) -> dict[str, Any]:
    device = rows.device
    waiting = [row.key_id for row in rows.pre_keys if not row.uploaded]
    next_id = max((row.key_id for row in rows.pre_keys), default=0) + 1
    newest = max(rows.app_state_keys, key=lambda row: row.timestamp, default=None)
    return {
        "noiseKey": _pair(device.noise_key),
        "signedIdentityKey": _pair(device.identity_key),
        "signedPreKey": {
            "keyPair": _pair(device.signed_pre_key),
            "signature": buffer(device.signed_pre_key_sig),
            "keyId": device.signed_pre_key_id,
        },
        "registrationId": device.registration_id,
        "advSecretKey": _b64(device.adv_key),
        **_FRESH,
        "nextPreKeyId": next_id,
        "firstUnuploadedPreKeyId": min(waiting, default=next_id),
        "account": _account(device),
        "me": {"id": device.jid, **({"lid": device.lid} if device.lid else {}), "name": device.push_name},
        "signalIdentities": [
            {
                "identifier": {"name": device.lid or device.jid, "deviceId": 0},
                "identifierKey": buffer(KEY_TYPE + device.adv_account_sig_key),
            }
        ],
        "platform": device.platform,
        **({"myAppStateKeyId": _b64(newest.key_id)} if newest else {}),
        **extra.creds,
    }


def _account(device: DeviceRow) -> dict[str, str]:
    return {
        "details": _b64(device.adv_details),
        "accountSignatureKey": _b64(device.adv_account_sig_key),
        "accountSignature": _b64(device.adv_account_sig),
        "deviceSignature": _b64(device.adv_device_sig),
    }


def _app_state(rows: Rows) -> Iterator[tuple[str, Any]]:
    for key in rows.app_state_keys:
        yield (
            f"app-state-sync-key-{_b64(key.key_id)}",
            {
                "keyData": _b64(key.key_data),
                "fingerprint": fingerprint(key.fingerprint),
                "timestamp": str(key.timestamp),
            },
        )
    for version in rows.app_state_versions:
        macs = [one for one in rows.app_state_macs if one.name == version.name]
        yield (
            f"app-state-sync-version-{version.name}",
            {
                "version": version.version,
                "hash": buffer(version.hash),
                "indexValueMap": {_b64(one.index_mac): {"valueMac": buffer(one.value_mac)} for one in macs},
            },
        )


def _token(token: bytes, timestamp: int, sent: int | None) -> dict[str, Any]:
    told = {"token": buffer(token), "timestamp": str(timestamp)}
    return told if sent is None else {**told, "senderTimestamp": sent}


def _pair(private: bytes) -> dict[str, Any]:
    return {"private": buffer(private), "public": buffer(public_of(private))}


def _address(their_id: str) -> str:
    return their_id.replace(":", ".")


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
