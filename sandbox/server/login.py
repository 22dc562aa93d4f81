"""A client's first word after the handshake, its login, and the ends that the server or the phone puts to it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from sandbox.server.notices import devices_changed
from sandbox.server.pairing import offer_codes
from sandbox.server.world import stamp
from sandbox.wire import protobuf
from sandbox.wire.node import LID, SERVER, Node

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.server.accounts import Device
    from sandbox.server.connection import Connection
    from sandbox.server.world import World
    from sandbox.wire.protobuf import Message

_NUMBER, _DEVICE, _REGISTRATION = 1, 18, 19
UNKNOWN = "401"
FORGETTING = ("401", "403", "406")
"""Reasons after which a client deletes its session: the account's list must not name it any more."""


def begin(world: World, connection: Connection, payload: bytes) -> None:
    """Offer a new client its codes, or let a known one in."""
    message = protobuf.decode(payload)
    if _REGISTRATION in message:
        offer_codes(world, connection, message.message(_REGISTRATION))
    else:
        _log_in(world, connection, message)


def _log_in(world: World, connection: Connection, payload: Message) -> None:
    account = world.find(str(payload.number(_NUMBER)))
    device = account.devices.get(payload.number(_DEVICE)) if account else None
    if device is None or device.noise != connection.client:
        connection.end(_failure(UNKNOWN))
    elif refusal := world.faults.logins.take(device.account.number):
        connection.end(_failure(refusal.code, refusal.more))
        if refusal.code in FORGETTING:
            forget(world, device)
    else:
        _let_in(connection, device)


def _failure(reason: str, more: Mapping[str, str] = MappingProxyType({})) -> Node:
    return Node("failure", {"reason": reason, "location": "atn", **more})


def _let_in(connection: Connection, device: Device) -> None:
    if device.connection is not None:
        device.connection.end(conflict("replaced"))
    device.connection, connection.device = connection, device
    attrs = {"t": stamp(), "props": "1", "location": "atn", "creation": stamp()}
    connection.send(Node("success", {"lid": device.jid(LID), **attrs}))


def conflict(kind: str, code: str | None = None) -> Node:
    return Node("stream:error", {"code": code}, [Node("conflict", {"type": kind})])


def activate(world: World, connection: Connection) -> None:
    """The client wants its messages: first those that waited, in order, then how many they were."""
    device = connection.owner()
    if connection.active or device.connection is not connection:
        return
    connection.active = True
    world.journal.began(connection)
    waiting = list(device.waiting.values())
    for stanza in waiting:
        connection.send(stanza.with_attrs(offline="1"))
    connection.send(Node("ib", {"from": SERVER}, [Node("offline", {"count": str(len(waiting))})]))
    if device.account.phone is not None and not device.greeted:
        device.account.phone.line.greet(device)


def unlink(world: World, device: Device) -> None:
    """The phone removes the device: it is told so if it is there, and at its next login otherwise."""
    connection = device.connection
    forget(world, device)
    if connection is not None:
        connection.end(conflict("device_removed", UNKNOWN))


def forget(world: World, device: Device) -> None:
    """Take the device off the account's list."""
    device.account.devices.pop(device.id, None)
    device.account.changed = True
    devices_changed(world, device.account)


def logged_out(world: World, connection: Connection, device: Device) -> None:
    """The client removed itself: it closes when it has its answer."""
    forget(world, device)
    connection.end()
