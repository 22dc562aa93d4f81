"""Notifications that the server sends of its own accord."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.server.world import new_id, stamp
from sandbox.wire.node import LID, PN, SERVER, Node

if TYPE_CHECKING:
    from sandbox.server.accounts import Account, Device
    from sandbox.server.world import World
    from sandbox.wire.node import JID

UNKNOWN_HASH = "2:AAAAAAAA"
"""A hash that matches no list: the client drops the list of devices that it remembers."""


def notification(kind: str, sender: JID, child: Node) -> Node:
    return Node("notification", {"from": sender, "type": kind, "id": new_id(), "t": stamp()}, [child])


def devices_changed(world: World, account: Account, but: Device | None = None) -> None:
    """Make every client that may remember this account's list of devices ask for it again."""
    for device in world.devices():
        if device is but:
            continue
        if device.account is account:
            child = Node("devices", {"dhash": UNKNOWN_HASH})
            device.deliver(notification("account_sync", account.jid(PN), child))
        elif account.lid in device.asked_for:
            device.asked_for.discard(account.lid)
            child = Node("update", {"device_hash": UNKNOWN_HASH})
            device.deliver(notification("devices", account.jid(LID), child))


def settings_changed(account: Account, collection: str, but: Device | None = None) -> None:
    """Tell the account's linked devices that there is a new version of a collection of app state."""
    version = str(len(account.settings[collection]))
    for device in account.devices.values():
        if device is not but:
            child = Node("collection", {"name": collection, "version": version})
            device.deliver(notification("server_sync", SERVER, child))


def keys_run_low(device: Device, left: int) -> None:
    """Make the client upload more one-time keys."""
    device.hear(notification("encrypt", SERVER, Node("count", {"value": str(left)})))
