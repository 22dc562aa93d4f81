"""The server's side of Noise_XX_25519_AESGCM_SHA256 as WhatsApp speaks it, and its chain of certificates.

A client pins one root key. The root signs an intermediate key, and that one signs the server's static key; a client
checks serials, dates and both signatures (XEdDSA over the details' bytes).
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sandbox.wire import protobuf
from sandbox.wire.keys import KeyPair, hkdf

PATTERN = b"Noise_XX_25519_AESGCM_SHA256\0\0\0\0"  # exactly one hash long, so it is the first hash itself
HELLO, SERVER_HELLO, FINISH = 2, 3, 4  # fields of a HandshakeMessage
_DAY = 86_400

TEST_ROOT = KeyPair.of(hashlib.sha256(b"the root key of every loopback sandbox; it protects nothing").digest())
"""The same in every run, so that a client that was pointed at one sandbox can talk to the next."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A server's static key and the certificates that vouch for it."""

    static: KeyPair
    certificates: bytes

    @classmethod
    def new(cls, root: KeyPair = TEST_ROOT) -> Identity:
        intermediate, static, now = KeyPair.new(), KeyPair.new(), int(time.time())
        valid: protobuf.Fields = {4: now - _DAY, 5: now + 3650 * _DAY}
        middle = protobuf.encode({1: 1, 2: 0, 3: intermediate.public, **valid})  # serial, issuer's serial, key
        leaf = protobuf.encode({1: 2, 2: 1, 3: static.public, **valid})
        chain: protobuf.Fields = {1: {1: leaf, 2: intermediate.sign(leaf)}, 2: {1: middle, 2: root.sign(middle)}}
        return cls(static, protobuf.encode(chain))


@dataclass(slots=True)
class Cipher:
    """AES-256-GCM with a counter as nonce: what one side sends, in order."""

    key: bytes
    _count: int = field(default=0, init=False)
    _aead: AESGCM = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._aead = AESGCM(self.key)

    def seal(self, data: bytes, bound: bytes | None = None) -> bytes:
        return self._aead.encrypt(self._nonce(), data, bound)

    def open(self, data: bytes, bound: bytes | None = None) -> bytes:
        """Raises cryptography.exceptions.InvalidTag."""
        return self._aead.decrypt(self._nonce(), data, bound)

    def _nonce(self) -> bytes:
        self._count += 1
        return (self._count - 1).to_bytes(12, "big")


@dataclass(frozen=True, slots=True)
class Finished:
    """What a handshake yields: the client's static key, its first payload, and a cipher for each direction."""

    client: bytes
    payload: bytes
    reading: Cipher
    writing: Cipher


class Symmetric:
    """The state both sides carry through the handshake: a running hash, and a key that each secret is mixed into."""

    def __init__(self, prologue: bytes) -> None:
        self._hash = self._salt = PATTERN
        self._cipher = Cipher(PATTERN)
        self.mix_hash(prologue)

    def mix_hash(self, data: bytes) -> None:
        self._hash = hashlib.sha256(self._hash + data).digest()

    def mix_key(self, secret: bytes) -> None:
        keys = hkdf(secret, b"", 64, self._salt)
        self._salt, self._cipher = keys[:32], Cipher(keys[32:])

    def seal(self, data: bytes) -> bytes:
        sealed = self._cipher.seal(data, self._hash)
        self.mix_hash(sealed)
        return sealed

    def open(self, data: bytes) -> bytes:
        plain = self._cipher.open(data, self._hash)
        self.mix_hash(data)
        return plain

    def split(self) -> tuple[Cipher, Cipher]:
        """The ciphers of the traffic: what the client sends, what the server sends."""
        keys = hkdf(b"", b"", 64, self._salt)
        return Cipher(keys[:32]), Cipher(keys[32:])


class Responder:
    """The server's side of one handshake. `prologue` is what the client sent before its first frame."""

    def __init__(self, identity: Identity, prologue: bytes) -> None:
        self._identity = identity
        self._state = Symmetric(prologue)
        self._ephemeral = KeyPair.new()

    def hello(self, frame: bytes) -> bytes:
        """The client's hello to the server's."""
        theirs = protobuf.decode(frame).message(HELLO).data(1)
        state = self._state
        state.mix_hash(theirs)
        state.mix_hash(self._ephemeral.public)
        state.mix_key(self._ephemeral.dh(theirs))
        static = state.seal(self._identity.static.public)
        state.mix_key(self._identity.static.dh(theirs))
        chain = state.seal(self._identity.certificates)
        return protobuf.encode({SERVER_HELLO: {1: self._ephemeral.public, 2: static, 3: chain}})

    def finish(self, frame: bytes) -> Finished:
        """The client's last handshake message. Raises InvalidTag when the client took us for somebody else."""
        message = protobuf.decode(frame).message(FINISH)
        client = self._state.open(message.data(1))
        self._state.mix_key(self._ephemeral.dh(client))
        payload = self._state.open(message.data(2))
        reading, writing = self._state.split()
        return Finished(client, payload, reading, writing)
