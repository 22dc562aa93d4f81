"""What the database tells of sessions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003 - the annotations are read at run time
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.model import SessionState

CommandKind = Literal["pair", "logout", "reconnect"]
LinkProblem = Literal["number_taken", "another_number"]


@dataclass(frozen=True, slots=True)
class Pairing:
    """What a person needs to link the device: the text of a QR code, or the eight characters to type, and until when
    they are good. A secret: whoever has it may link the tenant to a phone of his."""

    qr: str | None = field(default=None, repr=False)
    qr_until: datetime | None = None
    code: str | None = field(default=None, repr=False)
    code_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One row of `sessions`. `jid`: the tenant's linked device, None when there is none; `sandbox`: it is paired with a
    WhatsApp on loopback; `held`: a living process has the lease."""

    tenant: str
    state: SessionState
    reason: str | None
    since: datetime
    jid: str | None
    sandbox: bool
    process: int | None
    held: bool
    phone_last_seen: datetime | None
    pairing: Pairing | None


@dataclass(frozen=True, slots=True)
class Lease:
    """A tenant's session is this process's; `fence` grew if it was another's before. `jid` and `sandbox` as in
    SessionRow. `taken_over`: it was another's until this very moment, and that one may live and come back. `refusals`:
    how often in a row WhatsApp has refused new conversations (463), and seconds for which none is to be tried."""

    tenant: str
    fence: int
    jid: str | None
    sandbox: bool
    taken_over: bool = False
    refusals: int = 0
    refused_for: float = 0.0


@dataclass(frozen=True, slots=True)
class Device:
    """The tenant's own linked device, as WhatsApp names it: `628…:7@s.whatsapp.net` and `…:7@lid`."""

    jid: str
    lid: str
    push_name: str
    sandbox: bool


@dataclass(frozen=True, slots=True)
class TenantSession:
    """A tenant with a key, as a supervisor sees it. `paired`: it has a device to open."""

    tenant: str
    paired: bool
    state: SessionState
    process: int | None
    held: bool
    sandbox: bool


@dataclass(frozen=True, slots=True)
class FreeConnections:
    """Connections to PostgreSQL: `free` ones of `total` that this program may have, and the session `processes` that
    share them."""

    free: int
    total: int
    processes: int


@dataclass(frozen=True, slots=True)
class Command:
    """A call that this process is to answer."""

    id: int
    tenant: str
    kind: CommandKind
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message that the library has opened, by WhatsApp's addresses (`628…@s.whatsapp.net`, `…@lid`, `…@g.us`), and
    of which there is no row yet; or, when it is lost, by recipient keys."""

    tenant: str
    id: str
    chat: str
    sender: str
