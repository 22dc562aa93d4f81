"""creds.json, or a row of auth_creds: who the login is. Any damage here makes the whole login useless."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.baileys.keys import private_key
from core.baileys.names import Jid
from core.baileys.places import Damaged, Place
from core.whatsmeow_rows import DeviceRow

if TYPE_CHECKING:
    from collections.abc import Mapping

CARRIED = {
    *("noiseKey", "signedIdentityKey", "signedPreKey", "registrationId", "advSecretKey", "account", "me", "platform"),
    *("nextPreKeyId", "firstUnuploadedPreKeyId", "signalIdentities", "myAppStateKeyId"),
}
"""What the rows hold, or can be told from them. The rest means nothing to whatsmeow."""

LARGEST_KEY_ID = 2**24 - 1


def is_paired(creds: Place) -> bool:
    """Whether a phone was ever linked. (`registered` says nothing: it is false after a scanned QR code.)"""
    me = creds.get("me")
    return me is not None and me.get("id") is not None and creds.get("account") is not None


def device_row(creds: Place) -> DeviceRow:
    """The device of a paired login. Raises Damaged."""
    jid = _jid(creds["me"]["id"])
    signed, account = creds["signedPreKey"], creds["account"]
    return DeviceRow(
        jid=jid,
        lid=own_lid(creds, jid),
        registration_id=creds["registrationId"].number(),
        noise_key=_private(creds["noiseKey"]),
        identity_key=_private(creds["signedIdentityKey"]),
        signed_pre_key=_private(signed["keyPair"]),
        signed_pre_key_id=signed["keyId"].number(0, LARGEST_KEY_ID),
        signed_pre_key_sig=signed["signature"].data(64),
        adv_key=creds["advSecretKey"].data(32),
        adv_details=account["details"].data(),
        adv_account_sig=account["accountSignature"].data(64),
        adv_account_sig_key=account["accountSignatureKey"].public_key(),
        adv_device_sig=account["deviceSignature"].data(64),
        platform=_text(creds.get("platform")),
        push_name=_text(creds["me"].get("name")),
    )


def own_lid(creds: Place, jid: str) -> str | None:
    """The device under its hidden id; None in old logins, which learn it when they connect."""
    place = creds["me"].get("lid")
    if place is None or place.value == "":
        return None
    lid = Jid.parse(place.text())
    if lid is None or lid.server != "lid":
        place.refuse("bad_json", "is not the address of a hidden user")
    device = jid.partition("@")[0].partition(":")[2] if lid.device is None else lid.device
    return f"{lid.user}:{device}@lid"


def left_over(creds: Mapping[str, Any]) -> dict[str, Any]:
    """What no row holds, for the way back."""
    return {name: value for name, value in creds.items() if name not in CARRIED}


def _jid(place: Place) -> str:
    jid = Jid.parse(place.text())
    if jid is None or jid.server != "s.whatsapp.net":
        place.refuse("bad_json", "is not the address of a WhatsApp number")
    if not jid.device:
        raise Damaged("missing", place.path, "names no linked device")
    return f"{jid.user}:{jid.device}@{jid.server}"


def _private(pair: Place) -> bytes:
    return private_key(pair["private"], pair["public"])


def _text(place: Place | None) -> str:
    return place.text() if place else ""
