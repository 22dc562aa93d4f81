"""The files of the gateway that wrote these logins: whom its keys belong to, and whose numbers were listed."""

from __future__ import annotations

import json
import re
from typing import Any

from core.baileys.places import Damaged, Place, parse_json
from core.errors import GapuraError

LONGEST_TENANT = 100
_MARK = "movedIn"
_MIRROR = "whatsmeow"


def tenant_id(written: str) -> str:
    """As the old gateway made it: lower case, only a-z, 0-9, _ and -; what is empty then is `default`."""
    return re.sub(r"[^a-z0-9_-]", "", written.lower()) or "default"


def api_keys(text: str | bytes) -> list[tuple[str, Place]]:
    """(API key, the tenant id as written) of data/api_keys.json, in order. Raises Damaged. The keys are secret."""
    return list(parse_json(text).items())


def whitelist(text: str | bytes) -> list[str]:
    """The entries of data/whitelist_TENANT.json: addresses as written, of numbers the digits; "" for what is neither a
    text nor a number. Raises Damaged."""
    return [_entry(place.value) for place in parse_json(text).elements()]


def _entry(value: Any) -> str:
    if type(value) is int and value > 0:
        return str(value)
    if not isinstance(value, str):
        return ""
    return value if "@" in value else re.sub(r"[^0-9]", "", value)


def standing(creds: str | None) -> str | None:
    """What a row of auth_creds says of itself: `moved` in before, `mirror` of a login that lives here, or nothing."""
    try:
        document = parse_json(creds).mapping()
    except Damaged:
        return None
    if document.get("format") == _MIRROR:
        return "mirror"
    return "moved" if _MARK in document else None


def mirrored_device(creds: str) -> str | None:
    """The jid of the login that lives here and that this row of auth_creds mirrors; None when it is no mirror."""
    if standing(creds) != "mirror":
        return None
    try:
        return parse_json(creds)["me"]["id"].text()
    except Damaged:
        return "unknown"


def marked(creds: str, at: str) -> str | None:
    """The creds with a note that they were moved in at that time, and must not be used again; None when they cannot
    hold one."""
    try:
        return json.dumps({**parse_json(creds).mapping(), _MARK: at}, separators=(",", ":"))
    except (GapuraError, RecursionError):
        return None
