"""What the database tells of callbacks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the annotations are read at run time
from typing import Literal

DeliveryStatus = Literal["pending", "delivered", "dead"]


@dataclass(frozen=True, slots=True)
class Posting:
    """A delivery that this process is to post now. `id`: its webhook-id; `seq`: the event's number; `tries`: how often
    it was posted before; `failures`: posts to the endpoint that failed since one succeeded; `left`: seconds for which
    it may be tried again."""

    id: str
    seq: int
    tries: int
    failures: int
    left: float


@dataclass(frozen=True, slots=True)
class Work:
    """What an endpoint has to be sent now. `full`: no more may be under way to it than are; `dead`: (id, type) of
    deliveries whose time is over."""

    postings: tuple[Posting, ...] = ()
    full: bool = False
    dead: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a post. `wait`: seconds until it may be posted again, `rest`: until the endpoint may be posted
    anything (None: no matter)."""

    status: DeliveryStatus
    http_status: int | None = None
    error: str | None = None
    wait: float = 0.0
    rest: float | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event to one endpoint, and how far it got. `at`: when the event was; `next_at`: when it is tried next, None
    when it is not; `last_status`, `last_error`: what came of the latest try that failed, or the status that it was
    delivered with."""

    id: str
    tenant: str
    endpoint: str
    seq: int
    type: str
    at: datetime
    status: DeliveryStatus
    tries: int
    next_at: datetime | None
    last_try_at: datetime | None
    last_status: int | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class EndpointState:
    """How an endpoint of a tenant fares. `failures`: posts that failed since one succeeded; `rests_until`: nothing is
    posted to it before."""

    tenant: str
    endpoint: str
    pending: int
    dead: int
    failures: int
    rests_until: datetime | None
