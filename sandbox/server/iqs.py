"""Questions of clients, and the answers: every kind that neonize 0.5.2 asks when it sends and receives text.

A handler gives the children of the answer; one that raises LookupError answers with error 404. A kind that is not here
is recorded, and answered with error 501 at once, so that the client does not wait its 75 s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.server import paircode
from sandbox.server.accounts import PreKey
from sandbox.server.login import activate, logged_out
from sandbox.server.notices import keys_run_low, settings_changed
from sandbox.server.usync import answer_usync
from sandbox.server.world import stamp
from sandbox.wire.appstate import numbered
from sandbox.wire.node import SERVER, Node

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox.server.connection import Connection
    from sandbox.server.world import World

    Handler = Callable[[World, Connection, Node], "list[Node] | None"]

_KEY_TYPE = b"\5"
_KEYS_RUN_LOW = 5
_NOT_FOUND, _UNKNOWN = ("404", "item-not-found"), ("501", "feature-not-implemented")
_PRIVACY = ("groupadd", "last", "status", "profile", "readreceipts", "online", "calladd")


def answer(world: World, connection: Connection, node: Node) -> None:
    """Answer a client's iq, or hand its answer to who asked."""
    if node.get("type") in ("result", "error"):
        connection.answered(node)
        return
    handler = HANDLERS.get(node.get("xmlns"))
    attrs = {"from": node.attrs.get("to") or SERVER, "id": node.get("id")}
    if handler is None:
        world.unknown(node)
        connection.send(Node("iq", {**attrs, "type": "error"}, [_error(*_UNKNOWN)]))
        return
    try:
        connection.send(Node("iq", {**attrs, "type": "result"}, handler(world, connection, node)))
    except LookupError:
        connection.send(Node("iq", {**attrs, "type": "error"}, [_error(*_NOT_FOUND)]))
    if node.child("active"):
        activate(world, connection)


def _error(code: str, text: str) -> Node:
    return Node("error", {"code": code, "text": text})


def _nothing(world: World, connection: Connection, node: Node) -> list[Node] | None:
    return None


def _no_picture(world: World, connection: Connection, node: Node) -> list[Node] | None:
    raise LookupError("item-not-found")


def _keys(world: World, connection: Connection, node: Node) -> list[Node] | None:
    device = connection.owner()
    if node.child("count"):
        # A client that hears 0 makes and stores 812 keys, which takes seconds; one that hears less than 5 makes 50.
        return [Node("count", {"value": str(max(len(device.one_time), int(world.fast_pairing)))})]
    if node.child("digest"):
        return [Node("digest")]
    if rotate := node.child("rotate"):
        device.signed = PreKey.read(rotate.need("skey"))
    elif uploaded := node.child("list"):
        device.one_time += [PreKey.read(key) for key in uploaded.children]
        device.signed = PreKey.read(node.need("skey"))
    else:
        return [Node("list", {}, [_bundle(world, user) for user in node.need("key").children])]
    device.account.changed = True
    return None


def _bundle(world: World, user: Node) -> Node:
    """What is needed to begin a session with one device."""
    jid = user.jid("jid")
    target = world.endpoint(jid)
    if target is None:
        return Node("user", {"jid": jid}, [_error(*_NOT_FOUND)])
    once = target.take_one_time_key()
    target.account.changed = True
    parts = [
        Node("registration", {}, target.registration),
        Node("type", {}, _KEY_TYPE),
        Node("identity", {}, target.identity),
        target.signed.node(),
        *([once.node()] if once else []),
    ]
    device = target.account.devices.get(target.id)
    if device is not None and len(device.one_time) == _KEYS_RUN_LOW:
        keys_run_low(device, _KEYS_RUN_LOW - 1)
    return Node("user", {"jid": jid, "t": stamp()}, parts)


def _privacy(world: World, connection: Connection, node: Node) -> list[Node] | None:
    if node.get("type") == "set":
        return None
    return [Node("privacy", {}, [Node("category", {"name": name, "value": "all"}) for name in _PRIVACY])]


def _settings(world: World, connection: Connection, node: Node) -> list[Node] | None:
    return [Node("sync", {}, [_collection(connection, wanted) for wanted in node.need("sync").children])]


def _collection(connection: Connection, wanted: Node) -> Node:
    """What the client does not have of a collection of app state, after taking the patch that it may bring."""
    device = connection.owner()
    name, known = wanted.get("name"), int(wanted.get("version") or 0)
    patches, patch = device.account.settings.setdefault(name, []), wanted.child("patch")
    if patch is not None and known == len(patches):
        patches.append(numbered(patch.data, known + 1))
        device.account.changed = True
        settings_changed(device.account, name, but=device)
        return Node("collection", {"name": name, "version": str(len(patches))})
    parts = [Node("patches", {}, [Node("patch", {}, data) for data in patches[known:]])] if patches[known:] else []
    if patch is not None:
        parts.append(_error("409", "conflict"))
    attrs = {"name": name, "version": str(len(patches)), "type": "error" if patch is not None else None}
    return Node("collection", attrs, parts)


def _properties(world: World, connection: Connection, node: Node) -> list[Node] | None:
    return [Node("props", {"protocol": "1", "ab_key": "k", "hash": "h", "refresh": "86400"})]


def _blocked(world: World, connection: Connection, node: Node) -> list[Node] | None:
    return [Node("list", {"dhash": "h"})]


def _linked_devices(world: World, connection: Connection, node: Node) -> list[Node] | None:
    if request := node.child(paircode.TAG):
        return paircode.answer_companion(connection, request)
    if node.child("remove-companion-device"):
        logged_out(world, connection, connection.owner())
        return None
    world.unknown(node)
    return None


HANDLERS: Mapping[str, Handler] = {
    "w:p": _nothing,
    "passive": _nothing,
    "urn:xmpp:whatsapp:dirty": _nothing,
    "encrypt": _keys,
    "usync": answer_usync,
    "privacy": _privacy,
    "w:sync:app:state": _settings,
    "w:profile:picture": _no_picture,
    "abt": _properties,
    "blocklist": _blocked,
    "md": _linked_devices,
}
"""By the iq's xmlns."""
