"""Linking by a code of eight characters that the client shows and a person types into the phone.

Both sides send an ephemeral key, encrypted with a key stretched from the code, so only who knows the code learns the
other's. From the shared secret come the key of the client's bundle of keys, and the secret that proves the pairing.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sandbox.errors import UnknownCode, UnknownQr
from sandbox.server.notices import notification
from sandbox.server.pairing import link
from sandbox.wire.keys import KeyPair, hkdf
from sandbox.wire.node import SERVER, Node
from sandbox.wire.protobuf import Malformed

if TYPE_CHECKING:
    from sandbox.server.accounts import Account, Device
    from sandbox.server.connection import Connection
    from sandbox.server.world import World

TAG = "link_code_companion_reg"
_ROUNDS, _SALT, _IV, _NONCE, _KEY = 131_072, 32, 16, 12, 32
_BUNDLE_WITHIN = 10.0


@dataclass(frozen=True, slots=True)
class CodeRequest:
    """A client that shows a code and waits for `number`'s phone. `bundle` comes when the phone has answered."""

    number: str
    hello: bytes
    bundle: asyncio.Future[bytes] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


def answer_companion(connection: Connection, request: Node) -> list[Node] | None:
    """The client's two questions on the way."""
    if request.get("stage") == "companion_hello":
        hello = request.need("link_code_pairing_wrapped_companion_ephemeral_pub").data
        connection.code_request = CodeRequest(request.jid("jid").user, hello)
        return [Node(TAG, {"stage": "companion_hello"}, [_ref(connection)])]
    if connection.code_request is None:
        raise Malformed("the client ends a pairing by code that it did not begin")
    if not connection.code_request.bundle.done():
        connection.code_request.bundle.set_result(request.need("link_code_pairing_wrapped_key_bundle").data)
    return None


async def link_by_code(world: World, account: Account, code: str) -> Device:
    """Play the account's phone into which the code is typed. Raises UnknownCode, PairingRefused."""
    connection, request = _waiting_client(world, account.number)
    secret = code.replace("-", "").strip().upper().encode()
    ephemeral = KeyPair.new()
    theirs = await _crypt(
        secret, request.hello[:_SALT], request.hello[_SALT : _SALT + _IV], request.hello[_SALT + _IV :]
    )
    salt, iv = secrets.token_bytes(_SALT), secrets.token_bytes(_IV)
    wrapped = salt + iv + await _crypt(secret, salt, iv, ephemeral.public)
    connection.send(_primary_hello(connection, account, wrapped))
    try:
        bundle = await asyncio.wait_for(request.bundle, _BUNDLE_WITHIN)
        identity, proof = _open_bundle(account, ephemeral.dh(theirs), bundle)
        return await link(world, connection, account, identity, proof)
    except (InvalidTag, TimeoutError, UnknownQr, ValueError):
        raise UnknownCode("the client shows another code") from None


def _waiting_client(world: World, number: str) -> tuple[Connection, CodeRequest]:
    for connection in world.unpaired.values():
        request = connection.code_request
        if request is not None and request.number == number:
            return connection, request
    raise UnknownCode(f"no client shows a pairing code for {number}")


async def _crypt(secret: bytes, salt: bytes, iv: bytes, data: bytes) -> bytes:
    """AES-256-CTR with a key stretched from the code, both ways. The stretching takes a while, so beside the loop."""
    key = await asyncio.to_thread(hashlib.pbkdf2_hmac, "sha256", secret, salt, _ROUNDS, _KEY)
    return Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor().update(data)


def _primary_hello(connection: Connection, account: Account, wrapped: bytes) -> Node:
    parts = [
        _ref(connection),
        Node("link_code_pairing_wrapped_primary_ephemeral_pub", {}, wrapped),
        Node("primary_identity_pub", {}, account.key.public),
    ]
    return notification(TAG, SERVER, Node(TAG, {"stage": "primary_hello"}, parts))


def _open_bundle(account: Account, shared: bytes, bundle: bytes) -> tuple[bytes, bytes]:
    """(the client's identity, the secret that proves the pairing). Raises InvalidTag when the code was another."""
    key = hkdf(shared, b"link_code_pairing_key_bundle_encryption_key", _KEY, bundle[:_SALT])
    plain = AESGCM(key).decrypt(bundle[_SALT : _SALT + _NONCE], bundle[_SALT + _NONCE :], None)
    identity, mine, chance = plain[:_KEY], plain[_KEY : 2 * _KEY], plain[2 * _KEY :]
    if mine != account.key.public:
        raise UnknownCode("the client answered another phone")
    return identity, hkdf(shared + account.key.dh(identity) + chance, b"adv_secret", _KEY)


def _ref(connection: Connection) -> Node:
    return Node("link_code_pairing_ref", {}, connection.ref.encode())
