"""Messages, receipts and typing, from device to device. Nothing waits here: what comes in order leaves in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.server.world import stamp
from sandbox.wire.node import LID, PN, Node

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.server.accounts import Endpoint
    from sandbox.server.world import World
    from sandbox.wire.node import JID, Attributes


def relay_message(world: World, sender: Endpoint, node: Node) -> None:
    """Give each device its part: of the fan-out in <participants>, or the one <enc> of a resend or a peer message."""
    to = node.jid("to")
    parts: dict[JID, Sequence[Node]] = {to: [child for child in node.children if child.tag == "enc"]}
    if fanout := node.child("participants"):
        parts = {part.jid("jid"): part.children for part in fanout.children}
    identity = [child for child in node.children if child.tag == "device-identity"]
    for jid, encrypted in parts.items():
        target = world.endpoint(jid)
        if target is None:
            continue
        begins = any(enc.get("type") == "pkmsg" for enc in encrypted)
        attrs = _message_attrs(sender, target, jid, node)
        target.deliver(Node("message", attrs, [*encrypted, *(identity if begins else ())]))


def _message_attrs(sender: Endpoint, target: Endpoint, jid: JID, node: Node) -> Attributes:
    to, account = node.jid("to"), sender.account
    attrs: dict[str, str | JID | None] = {
        "id": node.get("id"),
        "type": node.get("type"),
        "t": node.get("t") or stamp(),
        "notify": account.name,
        "edit": node.get("edit"),
        "category": node.get("category"),
    }
    if target.account is not account:
        by_lid = jid.server == LID
        attrs |= {"from": sender.jid(jid.server), "addressing_mode": "lid" if by_lid else "pn"}
        if not (by_lid and account.hides_number):
            attrs["sender_pn" if by_lid else "sender_lid"] = account.jid(PN if by_lid else LID)
        return attrs
    attrs["from"] = sender.jid(to.server)
    if not attrs["category"]:
        attrs |= {
            "recipient": node.attrs.get("recipient") or to.bare,
            "peer_recipient_pn": node.attrs.get("peer_recipient_pn"),
        }
    return attrs


def relay_receipt(world: World, device: Endpoint, node: Node) -> None:
    """To the device that sent the message; that it was read, to all devices of its account.

    Devices of one account tell each other only what they could not read.
    """
    to, kind = node.jid("to"), node.get("type")
    account = world.find(to.user)
    if account is None or (account is device.account and kind != "retry"):
        return
    attrs: Attributes = {
        "from": device.jid(to.server),
        "id": node.get("id"),
        "type": kind,
        "t": node.get("t") or stamp(),
        "recipient": node.attrs.get("recipient"),
    }
    for target in list(account.endpoints()):
        if target.id == to.device or kind in ("read", "played"):
            target.deliver(Node("receipt", attrs, node.content))


def relay_typing(world: World, device: Endpoint, node: Node) -> None:
    """To whom it concerns and is there: typing does not wait for anybody."""
    to = node.jid("to")
    account = world.find(to.user)
    if account is None or account is device.account:
        return
    stanza = Node("chatstate", {"from": device.jid(to.server).bare}, node.content)
    for target in list(account.endpoints()):
        if target.is_online:
            target.hear(stanza)
