"""What linked clients did, and when: their logins, and which receipts they acknowledged."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.server.connection import Connection
    from sandbox.wire.node import Node

KEPT = 100_000
"""Logins, and messages with receipts; the oldest are forgotten."""


@dataclass(slots=True)
class Login:
    """A connection that a linked device gets its messages through. `began`, `ended`: seconds since 1970; `ended` is
    None while it lasts."""

    number: str
    device: int
    began: float
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A receipt that a linked client has acknowledged: it does not come again. `type`: `delivered`, `read`, `retry`,
    …; `at`: seconds since 1970; `login`: over which connection."""

    type: str
    at: float
    login: Login


class Journal:
    """Of one sandbox, since it was started."""

    def __init__(self) -> None:
        self.logins: deque[Login] = deque(maxlen=KEPT)
        self.receipts: dict[str, list[Acknowledged]] = {}
        """By message id."""
        self._open: dict[Connection, Login] = {}

    def began(self, connection: Connection) -> None:
        """The connection's device is logged in, and gets its messages."""
        device = connection.owner()
        self._open[connection] = login = Login(device.account.number, device.id, time.time())
        self.logins.append(login)

    def ended(self, connection: Connection) -> None:
        """The connection is closed. One that never logged in is no matter."""
        if (login := self._open.pop(connection, None)) is not None:
            login.ended = time.time()

    def acknowledged(self, connection: Connection, receipt: Node) -> None:
        """The client has this receipt."""
        if (login := self._open.get(connection)) is not None:
            done = Acknowledged(receipt.get("type") or "delivered", time.time(), login)
            for message_id in receipt_ids(receipt):
                self.receipts.setdefault(message_id, []).append(done)
            while len(self.receipts) > KEPT:
                del self.receipts[next(iter(self.receipts))]


def receipt_ids(receipt: Node) -> list[str]:
    """The messages that a receipt is about, each once."""
    items = [item.get("id") for part in receipt.children if part.tag == "list" for item in part.children]
    return list(dict.fromkeys([receipt.get("id"), *items]))
