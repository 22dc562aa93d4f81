"""Who is on WhatsApp, under which LID, with which devices ("usync")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.server.notices import UNKNOWN_HASH
from sandbox.wire.node import JID, LID, PN, Node

if TYPE_CHECKING:
    from sandbox.server.accounts import Account
    from sandbox.server.connection import Connection
    from sandbox.server.world import World


def answer_usync(world: World, connection: Connection, node: Node) -> list[Node] | None:
    asked = node.need("usync")
    wanted = {query.tag for query in asked.need("query").children}
    users = [_user(world, connection, user, wanted) for user in asked.need("list").children]
    result = Node("result", {}, [Node(tag) for tag in sorted(wanted)])
    return [Node("usync", asked.attrs, [result, Node("list", {}, users)])]


def _user(world: World, connection: Connection, user: Node, wanted: set[str]) -> Node:
    contact = user.child("contact")
    if contact is not None and "contact" in wanted:
        return _contact(world, contact.data)
    jid = user.jid("jid")
    account = world.find(jid.user)
    parts: list[Node] = []
    if account is not None and "devices" in wanted:
        connection.owner().asked_for.add(account.lid)
        parts.append(_devices(account))
    if account is not None and "lid" in wanted:
        parts.append(Node("lid", {"val": account.jid(LID)}))
    return Node("user", {"jid": jid}, parts)


def _contact(world: World, asked: bytes) -> Node:
    """Whether a number, written as `628…@c.us` or `+628…`, is on WhatsApp."""
    number = asked.decode().partition("@")[0].lstrip("+")
    account = world.find(number)
    if account is None:
        return Node("user", {"jid": JID(number)}, [Node("contact", {"type": "out"}, asked)])
    attrs = {"jid": account.jid(LID), "pn_jid": account.jid(PN)}
    return Node("user", attrs, [Node("contact", {"type": "in"}, asked), Node("lid", {"val": account.jid(LID)})])


def _devices(account: Account) -> Node:
    numbers = [str(endpoint.id) for endpoint in account.endpoints()]
    devices = [Node("device", {"id": number, "key-index": number}) for number in numbers]
    return Node("devices", {}, [Node("device-list", {"hash": UNKNOWN_HASH}, devices)])
