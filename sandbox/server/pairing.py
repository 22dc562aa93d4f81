"""Linking a client to an account: by its QR code, and the last steps that a pairing code shares.

The phone signs the client's identity key with the account's; the client checks that against the secret which only its
QR code (or the exchange behind a pairing code) gave away, signs in turn, is told to come back, and logs in.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.errors import PairingRefused, UnknownDevice, UnknownQr
from sandbox.server.accounts import Device, PreKey
from sandbox.server.notices import devices_changed
from sandbox.wire import protobuf
from sandbox.wire.keys import hmac_of, verify
from sandbox.wire.node import LID, PN, Node

if TYPE_CHECKING:
    from sandbox.server.accounts import Account
    from sandbox.server.connection import Connection
    from sandbox.server.world import World
    from sandbox.wire.protobuf import Message

QR_CODES = 6
_ACCOUNT_SIGNS, _DEVICE_SIGNS = b"\6\0", b"\6\1"


@dataclass(frozen=True, slots=True)
class Registration:
    """What a client without an account says of itself."""

    registration: bytes
    identity: bytes
    signed: PreKey

    @classmethod
    def read(cls, message: Message) -> Registration:
        return cls(message.data(1), message.data(3), PreKey(message.data(4), message.data(5), message.data(6)))


def offer_codes(world: World, connection: Connection, registration: Message) -> None:
    """Give a client that has no account what its QR codes are made of."""
    connection.registration = Registration.read(registration)
    connection.ref = base64.b64encode(secrets.token_bytes(24)).decode()
    world.unpaired[connection.ref] = connection
    refs = [connection.ref, *(f"{connection.ref}.{number}" for number in range(1, QR_CODES))]
    question = Node("pair-device", {}, [Node("ref", {}, ref.encode()) for ref in refs])
    world.spawn(_ask_quietly(connection, question), "offering QR codes")


async def _ask_quietly(connection: Connection, question: Node) -> None:
    """A client may leave before it answers: that is no fault of the server."""
    with contextlib.suppress(UnknownDevice):
        await connection.ask(question)


async def link_by_qr(world: World, account: Account, qr: str) -> Device:
    """Play the account's phone that scans this text. Raises UnknownQr, PairingRefused."""
    parts = qr.rsplit("#", 1)[-1].split(",")
    if len(parts) < 4:
        raise UnknownQr("this is not the text of a WhatsApp QR code")
    try:
        client, identity, secret = (base64.b64decode(part, validate=True) for part in parts[1:4])
    except binascii.Error:
        raise UnknownQr("this is not the text of a WhatsApp QR code") from None
    connection = world.unpaired.get(parts[0].partition(".")[0])
    if connection is None or connection.client != client:
        raise UnknownQr("no client shows this QR code now")
    return await link(world, connection, account, identity, secret)


async def link(world: World, connection: Connection, account: Account, identity: bytes, secret: bytes) -> Device:
    """Make the client a device of the account. `secret` proves to it that the phone saw its code."""
    world.unpaired.pop(connection.ref, None)
    if connection.registration is None or connection.registration.identity != identity:
        raise UnknownQr("the code names another key than the client that shows it")
    account.last_device += 1
    device = _device(account, connection, connection.registration)
    details = protobuf.encode({1: secrets.randbits(31), 2: int(time.time()), 3: device.id, 4: 0, 5: 0})
    answer = await connection.ask(_offer(account, device, details, secret))
    if answer.get("type") != "result":
        raise PairingRefused("the client did not accept the phone's signature: the code may be mistyped")
    _check_signature(account, device, details, answer)
    account.devices[device.id] = device
    account.changed = True
    world.save(account)
    connection.send(Node("stream:error", {"code": "515"}))  # come back and log in; a bare close would not say so
    devices_changed(world, account, but=device)
    return device


def _device(account: Account, connection: Connection, own: Registration) -> Device:
    return Device(account, account.last_device, connection.client, own.identity, own.registration, own.signed)


def _offer(account: Account, device: Device, details: bytes, secret: bytes) -> Node:
    signature = account.key.sign(_ACCOUNT_SIGNS + details + device.identity)
    signed = protobuf.encode({1: details, 2: account.key.public, 3: signature})
    proven = protobuf.encode({1: signed, 2: hmac_of(secret, signed)})
    parts = [
        Node("device-identity", {}, proven),
        Node("biz", {"name": account.name}),
        Node("device", {"jid": device.jid(PN), "lid": device.jid(LID)}),
        Node("platform", {"name": "android"}),
    ]
    return Node("pair-success", {}, parts)


def _check_signature(account: Account, device: Device, details: bytes, answer: Node) -> None:
    proof = protobuf.decode(answer.need("pair-device-sign", "device-identity").data)
    signed = _DEVICE_SIGNS + details + device.identity + account.key.public
    if not verify(device.identity, signed, proof.data(4)):
        raise PairingRefused("the client's own signature does not hold")
