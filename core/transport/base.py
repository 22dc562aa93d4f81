"""What a transport is: one send method, and a state that people may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from core.model import Outgoing, SessionState


@dataclass(frozen=True, slots=True)
class Sent:
    """WhatsApp has the message: the id it gave and when."""

    wa_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """A tenant's session as `/api/status` tells it. `reason` says in words why it is not connected and what to do;
    `sandbox`: it is paired with a WhatsApp on loopback; `phone_last_seen`: when its own phone last gave a sign of
    life."""

    state: SessionState
    reason: str | None = None
    phone: str | None = None
    since: datetime | None = None
    sandbox: bool = False
    phone_last_seen: datetime | None = None


class Transport(Protocol):
    """Sends tenants' messages. `send` raises `core.errors.SendFailed`; its `secret` (32 bytes) goes with a message that
    WhatsApp carries. `typing` shows `to` that something is being written, and never fails."""

    name: str

    def status(self, tenant: str) -> SessionStatus: ...

    async def send(self, message: Outgoing, secret: bytes | None = None) -> Sent: ...

    async def typing(self, tenant: str, to: str) -> None: ...
