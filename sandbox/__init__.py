"""A WhatsApp on loopback: a server that the real neonize pairs with, and simulated phones to talk to it.

    async with Sandbox() as sandbox:
        carol = sandbox.phone("628777777777", "Carol")
        await sandbox.scan(qr_text_of_a_client, "628111111111", "Toko")
        await carol.send("628111111111", "halo")
        answer = await carol.next()

Nothing here reaches the network: the server and its proxy listen on 127.0.0.1. Names load when first used, so that
`sandbox.attach` stays light in the process that loads neonize.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sandbox.errors import (
    AttachError,
    PairingRefused,
    SandboxError,
    StateInUse,
    UnknownCode,
    UnknownDevice,
    UnknownMessage,
    UnknownNumber,
    UnknownQr,
)

if TYPE_CHECKING:
    from sandbox.loopback import Sandbox
    from sandbox.phones.chats import ChatLine, ReceiptSeen, Received, TypingSeen
    from sandbox.phones.phone import Phone

__all__ = [
    "AttachError",
    "ChatLine",
    "PairingRefused",
    "Phone",
    "ReceiptSeen",
    "Received",
    "Sandbox",
    "SandboxError",
    "StateInUse",
    "TypingSeen",
    "UnknownCode",
    "UnknownDevice",
    "UnknownMessage",
    "UnknownNumber",
    "UnknownQr",
]

_HOMES = {
    "Sandbox": "sandbox.loopback",
    "Phone": "sandbox.phones.phone",
    **dict.fromkeys(("ChatLine", "ReceiptSeen", "Received", "TypingSeen"), "sandbox.phones.chats"),
}


def __getattr__(name: str) -> Any:
    if home := _HOMES.get(name):
        return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
