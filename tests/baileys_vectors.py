"""The logins of tests/vectors: written by a real Baileys 7, with numbers and keys that belong to nobody."""

from __future__ import annotations

import base64
import dataclasses
import json
from functools import cache
from pathlib import Path
from typing import Any

from core import whatsmeow_rows as rows
from core.baileys.moving_in import Login, read_login
from core.whatsmeow_rows import Rows

TABLES = {
    "whatsmeow_device": ("device", rows.DeviceRow),
    "whatsmeow_pre_keys": ("pre_keys", rows.PreKeyRow),
    "whatsmeow_sessions": ("sessions", rows.SessionRow),
    "whatsmeow_identity_keys": ("identities", rows.IdentityRow),
    "whatsmeow_sender_keys": ("sender_keys", rows.SenderKeyRow),
    "whatsmeow_app_state_sync_keys": ("app_state_keys", rows.AppStateKeyRow),
    "whatsmeow_app_state_version": ("app_state_versions", rows.AppStateVersionRow),
    "whatsmeow_app_state_mutation_macs": ("app_state_macs", rows.AppStateMacRow),
    "whatsmeow_privacy_tokens": ("privacy_tokens", rows.PrivacyTokenRow),
    "whatsmeow_lid_map": ("lids", rows.LidRow),
}
"""Table -> (its field of Rows, the class of its rows)."""


@cache
def _text(name: str) -> str:
    [path] = (Path(__file__).parent / "vectors").glob(f"{name}_*.json")
    return path.read_text(encoding="utf-8")


def vector(name: str) -> dict[str, Any]:
    """A fresh copy of the vector whose file begins with this letter."""
    found: dict[str, Any] = json.loads(_text(name))
    return found


def creds_and_keys(name: str) -> tuple[str, dict[str, str]]:
    """The rows of auth_creds and auth_keys of a vector."""
    found = vector(name)
    return found["auth_creds"][0]["data"], {row["key"]: row["value"] for row in found["auth_keys"]}


def login(name: str) -> Login:
    """A vector that converts."""
    converted = read_login(*creds_and_keys(name))
    assert converted
    return converted


def stored(value: Any) -> Any:
    """What a column holds, from the way in which the vectors write it."""
    if isinstance(value, dict) and "b64" in value:
        return base64.b64decode(value["b64"])
    if isinstance(value, dict) and "json" in value:
        return json.dumps(value["json"], separators=(",", ":")).encode()
    return value


def rows_of(tables: dict[str, list[dict[str, Any]]]) -> Rows:
    """The rows of a vector's whatsmeow tables, each table in the vector's own order."""
    found: dict[str, Any] = {}
    for table, (name, cls) in TABLES.items():
        fields = {field.name for field in dataclasses.fields(cls)}
        found[name] = tuple(
            cls(**{column: stored(value) for column, value in row.items() if column in fields}) for row in tables[table]
        )
    return Rows(**{**found, "device": found["device"][0]})


def secrets() -> set[str]:
    """Every secret of the vector, in the ways in which it might be told."""
    rows = login("b").rows
    found = [getattr(rows.device, name) for name in ("noise_key", "identity_key", "signed_pre_key", "adv_key")]
    found += [row.key for row in rows.pre_keys] + [row.key_data for row in rows.app_state_keys]
    found += [row.session for row in rows.sessions] + [row.sender_key for row in rows.sender_keys]
    found += [row.token for row in rows.privacy_tokens]
    return {form for one in found for form in (repr(one)[2:-1], base64.b64encode(one).decode(), one.hex())}
