"""Derivation of keys, as Signal does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from core.baileys.places import Place


def public_of(private: bytes) -> bytes:
    """The 32 bytes of the public half."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def private_key(private: Place, public: Place) -> bytes:
    """The 32 bytes of the private half. Raises Damaged (`key_mismatch`) when `public` is not the other half of it."""
    found = private.data(32)
    if public_of(found) != public.public_key():
        public.refuse("key_mismatch", "is not the public half of the private key beside it")
    return found


def message_keys(seed: bytes) -> tuple[bytes, bytes, bytes]:
    """(cipher key, MAC key, IV) of one message between two devices."""
    keys = _hkdf(seed, b"WhisperMessageKeys", 80)
    return keys[:32], keys[32:64], keys[64:]


def group_message_keys(seed: bytes) -> tuple[bytes, bytes]:
    """(IV, cipher key) of one message to a group."""
    keys = _hkdf(seed, b"WhisperGroup", 48)
    return keys[:16], keys[16:]


def _hkdf(seed: bytes, info: bytes, size: int) -> bytes:
    return HKDF(SHA256(), size, bytes(32), info).derive(seed)
