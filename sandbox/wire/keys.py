"""Key pairs, signatures and key derivation, as Signal and WhatsApp use them."""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from typing import Literal

import xeddsa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_SIGN_BIT = 0x80


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An X25519 pair, 32 bytes each, which also signs (XEdDSA)."""

    private: bytes
    public: bytes

    @classmethod
    def new(cls) -> KeyPair:
        return cls.of(os.urandom(32))

    @classmethod
    def of(cls, private: bytes) -> KeyPair:
        return cls(private, X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw())

    def dh(self, public: bytes) -> bytes:
        """The secret shared with the holder of `public`."""
        return X25519PrivateKey.from_private_bytes(self.private).exchange(X25519PublicKey.from_public_bytes(public))

    def sign(self, message: bytes) -> bytes:
        """64 bytes. The sign bit of the Edwards key is forced to 0, which every verifier accepts."""
        return xeddsa.ed25519_priv_sign(xeddsa.priv_force_sign(self.private, False), message, os.urandom(64))


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Signal's check: bit 7 of the signature's last byte is the sign of the signer's Edwards key."""
    if len(signature) != 64:
        return False
    sign = bool(signature[63] & _SIGN_BIT)
    plain = signature[:63] + bytes([signature[63] & ~_SIGN_BIT & 0xFF])
    return xeddsa.ed25519_verify(plain, xeddsa.curve25519_pub_to_ed25519_pub(public, sign), message)


def hkdf(secret: bytes, info: bytes, size: int, salt: bytes = bytes(32)) -> bytes:
    """HKDF-SHA256."""
    extracted, out, block = hmac.digest(salt, secret, "sha256"), b"", b""
    for number in range(1, (size + 31) // 32 + 1):
        block = hmac.digest(extracted, block + info + bytes([number]), "sha256")
        out += block
    return out[:size]


def hmac_of(key: bytes, data: bytes, algorithm: Literal["sha256", "sha512"] = "sha256") -> bytes:
    return hmac.digest(key, data, algorithm)


def encrypt_cbc(key: bytes, iv: bytes, data: bytes) -> bytes:
    """AES-256-CBC with PKCS#7 padding."""
    cipher = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return cipher.update(pad(data, 16 - len(data) % 16)) + cipher.finalize()


def decrypt_cbc(key: bytes, iv: bytes, data: bytes) -> bytes:
    """Raises ValueError when the length or the padding is wrong."""
    cipher = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    return unpad(cipher.update(data) + cipher.finalize(), 16)


def pad(data: bytes, size: int) -> bytes:
    """`data` and `size` bytes of the value `size`."""
    return data + bytes([size]) * size


def unpad(data: bytes, most: int) -> bytes:
    """Take such a padding off; raises ValueError."""
    size = data[-1] if data else 0
    if not 1 <= size <= min(most, len(data)) or data[-size:] != bytes([size]) * size:
        raise ValueError("bad padding")
    return data[:-size]
