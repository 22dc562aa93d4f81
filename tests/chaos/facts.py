"""What was seen in a run: by callers, by people on their phones, and in the books of the gateway."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Accepted:
    """A caller's message that was answered 202. `ids`: of every answer that it got; `turn` grows with the order in
    which callers were answered, and a caller sends the next to the same person only then."""

    ref: str
    tenant: str
    to: str
    ids: tuple[str, ...]
    turn: int


@dataclass(frozen=True, slots=True)
class Row:
    """A row of `messages`. `steps`: (status, cause) of its history, oldest first; `cost`: what it counts still;
    `answers`: the letter that a bot answers."""

    id: str
    tenant: str
    to: str
    text: str
    status: str
    cause: str | None
    wa_id: str | None
    steps: tuple[tuple[str, str | None], ...] = ()
    cost: int = 0
    answers: str | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message on a person's phone; a phone's are in the order in which they came. `id`: WhatsApp's;
    `at`: seconds since 1970."""

    person: str
    tenant: str
    id: str
    text: str
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Written:
    """A letter that a person's phone has sent. `id`: WhatsApp's."""

    id: str
    tenant: str
    person: str
    text: str


@dataclass(frozen=True, slots=True)
class Event:
    """A row of `events`; `about` is the id of the message that it is about."""

    tenant: str
    seq: int
    type: str
    about: str | None
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Login:
    """A connection of a tenant to WhatsApp; `ended` is None while it lasts."""

    tenant: str
    began: float
    ended: float | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt for a message (`id`: WhatsApp's) that a tenant's library acknowledged at `at`: WhatsApp does not
    bring it again; `ended`: when the connection was closed over which it did, None while it lasts. `type`: delivered,
    read, …"""

    id: str
    type: str
    at: float
    ended: float | None


@dataclass(frozen=True, slots=True)
class Blow:
    """A strike that hit. `takes`: it ended a session process with what that had in memory, and its connections within
    so many seconds; 0: it did not."""

    at: float
    name: str
    takes: float = 0.0


@dataclass(frozen=True, slots=True)
class Posted:
    """A callback that was received: its webhook-id, and which event it told."""

    id: str
    tenant: str
    seq: int


@dataclass(frozen=True, slots=True)
class Counter:
    """A row of daily_limits, all days together."""

    tenant: str
    to: str
    count: int


@dataclass(frozen=True, slots=True)
class LineOf:
    """`waiting` of a row of lines, and how many rows really wait."""

    tenant: str
    waiting: int
    rows: int


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it, when everything has come to rest. All times are seconds since 1970. `kills`: when a SIGKILL struck
    while something was in flight; `blows`: all strikes; `receipts`: of the messages that arrived and that the books
    do not call delivered, or that no phone could read; `waiting`: WhatsApp's ids of those of them with receipts that
    nobody acknowledged."""

    accepted: tuple[Accepted, ...] = ()
    refused: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    arrivals: tuple[Arrival, ...] = ()
    unreadable: frozenset[tuple[str, str]] = frozenset()
    """(person, WhatsApp's id) of what came to a phone that could not decrypt it, and asked for another copy."""
    written: tuple[Written, ...] = ()
    kept: tuple[tuple[str, str], ...] = ()
    """(tenant, WhatsApp's id) of incoming_messages."""
    events: tuple[Event, ...] = ()
    posted: tuple[Posted, ...] = ()
    counters: tuple[Counter, ...] = ()
    lines: tuple[LineOf, ...] = ()
    kills: tuple[float, ...] = ()
    blows: tuple[Blow, ...] = ()
    logins: tuple[Login, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    waiting: frozenset[str] = frozenset()
    called_back: frozenset[str] = frozenset()
    """The types of events that the tenants have a callback for."""
    unsettled: tuple[str, ...] = field(default=())
    """What had not come to rest in time."""
