"""A login as auth_creds and auth_keys have it becomes the rows of whatsmeow's store again: pure.

Written by the SQL of db/migrations/0008_mirror.sql. Damage in the creds makes the login useless; a damaged key is left
out, and what it was for begins afresh by itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.baileys.places import Damaged, Place, is_storable, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Row = dict[str, Any]

LARGEST_KEY_ID = 2**24 - 1
_DEVICE = re.compile(r"[0-9]+:[0-9]+@(s\.whatsapp\.net|lid)", re.ASCII)
_ADDRESS = re.compile(r"([0-9]+(?:_[0-9]+)?)(?:\.|::)([0-9]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Mirrored:
    """`store`: {table without "whatsmeow_": its rows}, for `LoginStore.restore`; `damaged`: the names of keys that are
    left out."""

    jid: str
    lid: str | None
    store: dict[str, list[Row]] = field(repr=False)
    damaged: tuple[str, ...]


def read_mirror(creds: str | None, keys: Iterable[tuple[str, str | None]]) -> Mirrored:
    """Raises Damaged when the creds are of no use."""
    device = _device(parse_json(creds))
    store: dict[str, list[Row]] = {"device": [device]}
    damaged = []
    for name, value in keys:
        try:
            table, row = _key(name, value, device["jid"])
        except Damaged:
            damaged.append(name)
        else:
            store.setdefault(table, []).append(row)
    return Mirrored(device["jid"], device["lid"], store, tuple(damaged))


def device_of(creds: str | None) -> tuple[str, str | None, bool]:
    """(jid, lid, whether it is of a WhatsApp on loopback) of the device that the creds are of. Raises Damaged."""
    whole = parse_json(creds)
    me, sandbox = whole["me"], whole.get("sandbox")
    return _jid(me["id"]), _lid(me), sandbox is not None and sandbox.value is True


def _device(creds: Place) -> Row:
    if creds["format"].value != "whatsmeow":
        creds["format"].refuse("bad_json", "is not whatsmeow's")
    signed, account, me = creds["signedPreKey"], creds["account"], creds["me"]
    name, platform, more = me.get("name"), creds.get("platform"), creds.get("whatsmeow")
    return {
        **(more.mapping() if more else {}),
        "jid": _jid(me["id"]),
        "lid": _lid(me),
        "push_name": name.text() if name else "",
        "platform": platform.text() if platform else "",
        "registration_id": creds["registrationId"].number(),
        "noise_key": _hex(creds["noiseKey"]["private"], 32),
        "identity_key": _hex(creds["signedIdentityKey"]["private"], 32),
        "signed_pre_key": _hex(signed["keyPair"]["private"], 32),
        "signed_pre_key_id": signed["keyId"].number(0, LARGEST_KEY_ID),
        "signed_pre_key_sig": _hex(signed["signature"], 64),
        "adv_key": _hex(creds["advSecretKey"]),
        "adv_details": _hex(account["details"]),
        "adv_account_sig": _hex(account["accountSignature"], 64),
        "adv_account_sig_key": _hex(account["accountSignatureKey"], 32),
        "adv_device_sig": _hex(account["deviceSignature"], 64),
    }


def _jid(place: Place) -> str:
    jid = place.text()
    if not _DEVICE.fullmatch(jid) or not jid.endswith("@s.whatsapp.net"):
        place.refuse("bad_json", "is not a device's own address")
    return jid


def _lid(me: Place) -> str | None:
    place = me.get("lid")
    if place is None:
        return None
    if not _DEVICE.fullmatch(place.text()):
        place.refuse("bad_json", "is not a device's own address")
    return place.text()


def _key(name: str, value: str | None, jid: str) -> tuple[str, Row]:
    for kind, (table, read) in _KINDS.items():
        if name.startswith(kind):
            return table, read(name.removeprefix(kind), value, jid)
    raise Damaged("bad_json", "$", "has a name of no kind")


def _session(name: str, value: str | None, jid: str) -> Row:
    session = None if value is None else "\\x" + _record(value).hex()
    return {"our_jid": jid, "their_id": _address(name), "session": session}


def _identity(name: str, value: str | None, jid: str) -> Row:
    identity = "\\x" + parse_json(value).public_key().hex()
    return {"our_jid": jid, "their_id": _address(name), "identity": identity}


def _pre_key(name: str, value: str | None, jid: str) -> Row:
    place = parse_json(value)
    if not re.fullmatch("[0-9]{1,8}", name, re.ASCII) or int(name) > LARGEST_KEY_ID:
        place.refuse("bad_json", "has a name without a number")
    uploaded = place["uploaded"]
    if type(uploaded.value) is not bool:
        uploaded.refuse("bad_json", "is neither true nor false")
    return {"jid": jid, "key_id": int(name), "key": _hex(place["private"], 32), "uploaded": uploaded.value}


def _sender_key(name: str, value: str | None, jid: str) -> Row:
    chat, _, sender = name.partition("::")
    chat = chat.replace("%3A", ":").replace("%25", "%")
    record = "\\x" + _record(value).hex()
    return {"our_jid": jid, "chat_id": chat, "sender_id": _address(sender), "sender_key": record}


def _app_state_key(name: str, value: str | None, jid: str) -> Row:
    place = parse_json(value)
    return {
        "jid": jid,
        "key_id": _hex(Place(name)),
        "key_data": _hex(place["keyData"]),
        "timestamp": place["timestamp"].long(),
        "fingerprint": _hex(place["fingerprint"]),
    }


_KINDS: dict[str, tuple[str, Callable[[str, str | None, str], Row]]] = {
    "session-": ("sessions", _session),
    "identity-key-": ("identity_keys", _identity),
    "pre-key-": ("pre_keys", _pre_key),
    "sender-key-": ("sender_keys", _sender_key),
    "app-state-sync-key-": ("app_state_sync_keys", _app_state_key),
}


def _address(name: str) -> str:
    """`628….7` is 628…:7; what was no such address stands behind a colon."""
    if name.startswith(":"):
        return name[1:]
    match = _ADDRESS.fullmatch(name)
    if match is None:
        raise Damaged("bad_json", "$", "has a name that is no device's")
    return f"{match[1]}:{match[2]}"


def _record(value: str | None) -> bytes:
    """whatsmeow's own JSON, as it is, or any bytes as a Buffer."""
    place = parse_json(value)
    if place.mapping().get("type") == "Buffer":
        return place.data()
    assert value is not None  # noqa: S101 - it was JSON
    if not is_storable(value):
        place.refuse("bad_json", "has characters that cannot be stored")
    return value.encode()


def _hex(place: Place, *lengths: int) -> str:
    return "\\x" + place.data(*lengths).hex()
