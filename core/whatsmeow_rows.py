"""The rows of whatsmeow's store, version 15, that a login consists of. Secrets stay out of every repr.

A row's `jid` column is the device's, for all of them; `whatsmeow_lid_map` alone belongs to no device.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """whatsmeow_device. Keys are private halves, 32 bytes."""

    jid: str
    lid: str | None
    registration_id: int
    noise_key: bytes = field(repr=False)
    identity_key: bytes = field(repr=False)
    signed_pre_key: bytes = field(repr=False)
    signed_pre_key_id: int
    signed_pre_key_sig: bytes = field(repr=False)
    adv_key: bytes = field(repr=False)
    adv_details: bytes = field(repr=False)
    adv_account_sig: bytes = field(repr=False)
    adv_account_sig_key: bytes = field(repr=False)
    adv_device_sig: bytes = field(repr=False)
    platform: str
    push_name: str

    @property
    def number(self) -> str:
        """The digits of its phone number."""
        return self.jid.partition(":")[0]


@dataclass(frozen=True, slots=True)
class PreKeyRow:
    """whatsmeow_pre_keys."""

    key_id: int
    key: bytes = field(repr=False)
    uploaded: bool


@dataclass(frozen=True, slots=True)
class SessionRow:
    """whatsmeow_sessions. `session` is libsignal's own JSON."""

    their_id: str
    session: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class IdentityRow:
    """whatsmeow_identity_keys. 32 bytes, without the type."""

    their_id: str
    identity: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SenderKeyRow:
    """whatsmeow_sender_keys. `sender_key` is libsignal's own JSON."""

    chat_id: str
    sender_id: str
    sender_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AppStateKeyRow:
    """whatsmeow_app_state_sync_keys. `fingerprint` is a protobuf message."""

    key_id: bytes
    key_data: bytes = field(repr=False)
    timestamp: int
    fingerprint: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AppStateVersionRow:
    """whatsmeow_app_state_version."""

    name: str
    version: int
    hash: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AppStateMacRow:
    """whatsmeow_app_state_mutation_macs."""

    name: str
    version: int
    index_mac: bytes = field(repr=False)
    value_mac: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PrivacyTokenRow:
    """whatsmeow_privacy_tokens."""

    their_jid: str
    token: bytes = field(repr=False)
    timestamp: int
    sender_timestamp: int | None


@dataclass(frozen=True, slots=True)
class LidRow:
    """whatsmeow_lid_map: one person's hidden id and number, digits."""

    lid: str
    pn: str


@dataclass(frozen=True, slots=True)
class Rows:
    """All rows of one login, each kind in a fixed order."""

    device: DeviceRow
    pre_keys: tuple[PreKeyRow, ...] = ()
    sessions: tuple[SessionRow, ...] = ()
    identities: tuple[IdentityRow, ...] = ()
    sender_keys: tuple[SenderKeyRow, ...] = ()
    app_state_keys: tuple[AppStateKeyRow, ...] = ()
    app_state_versions: tuple[AppStateVersionRow, ...] = ()
    app_state_macs: tuple[AppStateMacRow, ...] = ()
    privacy_tokens: tuple[PrivacyTokenRow, ...] = ()
    lids: tuple[LidRow, ...] = ()
