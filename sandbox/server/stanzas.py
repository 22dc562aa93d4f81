"""What a logged-in client sends, by tag."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.server import iqs
from sandbox.server.journal import receipt_ids
from sandbox.server.relay import relay_message, relay_receipt, relay_typing
from sandbox.server.world import stamp
from sandbox.wire.node import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox.server.connection import Connection
    from sandbox.server.world import World

_GROUPS = "g.us"
_NOT_ACCEPTABLE = "406"


def handle(world: World, connection: Connection, node: Node) -> None:
    """Do what a stanza asks; one of an unknown kind is recorded. Of a client that was not let in, nothing is done."""
    if connection.ended and connection.device is None:
        return
    handler = _HANDLERS.get(node.tag)
    if handler is not None:
        handler(world, connection, node)
    elif node.tag not in _IGNORED:
        world.unknown(node)


def _message(world: World, connection: Connection, node: Node) -> None:
    device = connection.owner()
    number = device.account.number
    if node.jid("to").server == _GROUPS:
        world.unknown(node)
        connection.send(_ack(node, error=_NOT_ACCEPTABLE))
        return
    refusal = None if node.get("category") == "peer" else world.faults.sends.take(number)
    if refusal is not None:
        connection.send(_ack(node, error=refusal.code))
        return
    if number in world.faults.held:
        world.faults.held[number].append(lambda: connection.send(_ack(node)))
    else:
        connection.send(_ack(node))
    relay_message(world, device, node)


def _receipt(world: World, connection: Connection, node: Node) -> None:
    if connection.device is None:
        return  # it was a device a moment ago: the library confirms what that has read also when it begins anew
    device, sender = connection.device, node.get("to")
    connection.send(_ack(node, type=node.get("type"), participant=node.get("participant")))
    for key in receipt_ids(node):
        device.settle(("message", key, sender, ""))
    relay_receipt(world, device, node)


def _ack(node: Node, **more: str) -> Node:
    """The server has the stanza, or refuses it with `error`."""
    attrs = {"class": node.tag, "id": node.get("id"), "from": node.attrs.get("to"), "t": stamp(), **more}
    return Node("ack", attrs)


def _acknowledged(world: World, connection: Connection, node: Node) -> None:
    if connection.device is not None:
        key = node.get("class"), node.get("id"), node.get("to"), node.get("type")
        stanza = connection.device.settle(key)
        if stanza is not None and stanza.tag == "receipt":
            world.journal.acknowledged(connection, stanza)


def _typing(world: World, connection: Connection, node: Node) -> None:
    relay_typing(world, connection.owner(), node)


_HANDLERS: Mapping[str, Callable[[World, Connection, Node], None]] = {
    "iq": iqs.answer,
    "message": _message,
    "receipt": _receipt,
    "ack": _acknowledged,
    "chatstate": _typing,
}
_IGNORED = ("ib", "presence")
