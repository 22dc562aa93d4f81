"""What a supervisor and a session process say to each other, one JSON object a line: orders on stdin, reports on
stdout.

The end of stdin is an order too: the supervisor is gone, end in order.
"""

from __future__ import annotations

import msgspec

DATABASE_AWAY = 75
"""The exit status of a session process that had to end because PostgreSQL could not be reached."""


class Order(msgspec.Struct, frozen=True, tag=True):
    """What a supervisor wants."""


class Begin(Order, frozen=True):
    """The first order. `process`: the number under which this process is known; `timelock_pause`: seconds until the
    next message is tried after WhatsApp has refused one with code 463; `sandbox`: (proxy URL, root key as hex) of a
    WhatsApp on loopback, None for the real one; `keep_connections`: seconds for which a quiet session keeps its own
    connections to PostgreSQL."""

    database: str
    process: int
    timelock_pause: float
    keep_connections: float
    sandbox: tuple[str, str] | None = None

    def __repr__(self) -> str:
        return f"Begin(process={self.process})"  # the URL holds a password


class Open(Order, frozen=True):
    """Hold this tenant's session."""

    tenant: str


class Close(Order, frozen=True):
    """Hold this tenant's session no longer: the tenant is gone, or another gateway takes its share. What is in flight
    is recorded first; Closed follows. `why`: what its state says then."""

    tenant: str
    why: str = "closed by the gateway"


class Pair(Order, frozen=True):
    """Link a new device for this tenant; `number` (digits): by a code that is typed on that phone; `force`: also to
    another WhatsApp number than before."""

    tenant: str
    number: str | None = None
    force: bool = False


class Logout(Order, frozen=True):
    """Unlink the tenant's device; Answered follows with the same `call`."""

    tenant: str
    call: int


class Reconnect(Order, frozen=True):
    """Close and open again; Answered follows with the same `call`."""

    tenant: str
    call: int


class Report(msgspec.Struct, frozen=True, tag=True):
    """What a session process tells."""


class Alive(Report, frozen=True):
    """Every second, from the event loop."""


class Opening(Report, frozen=True):
    """What follows has been seen to end the whole process; Opened, or Closed, says that it did not."""

    tenant: str


class Opened(Report, frozen=True):
    """The dangerous moment of this tenant is over."""

    tenant: str


class Closed(Report, frozen=True):
    """The tenant's session is not held here any more. `rests`: it is of no use to open it again unasked."""

    tenant: str
    rests: bool


class Answered(Report, frozen=True):
    """A call was carried out, or refused with a code and words."""

    call: int
    refused: str | None = None
    detail: str = ""


Orders = Begin | Open | Close | Pair | Logout | Reconnect
Reports = Alive | Opening | Opened | Closed | Answered

_orders: msgspec.json.Decoder[Orders] = msgspec.json.Decoder(Orders)
_reports: msgspec.json.Decoder[Reports] = msgspec.json.Decoder(Reports)


def line(said: Order | Report) -> bytes:
    """As it travels."""
    return msgspec.json.encode(said) + b"\n"


def order(text: bytes) -> Orders:
    """Raises msgspec.DecodeError."""
    return _orders.decode(text)


def report(text: bytes) -> Reports:
    """Raises msgspec.DecodeError."""
    return _reports.decode(text)
