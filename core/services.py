"""What the doors of the house (HTTP, command line) are handed: no more than they need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.clock import Clock
    from core.paths.admission import Admission
    from core.paths.events import Feed
    from core.paths.outbound import Outbound
    from core.sessions.remote import RemoteSessions
    from core.settings import Settings
    from core.tenants import Tenants
    from core.transport.base import SessionStatus
    from db.callback_store import CallbackStore
    from db.opt_out_store import OptOutStore
    from db.store import Store


@dataclass(frozen=True, slots=True)
class Services:
    """One running gateway, as a door sees it. `sessions` are those of WhatsApp, wherever they are held;
    `session_of(tenant)` tells a session's state, whatever its transport; `ready()` is a list of what keeps the gateway
    from working, empty when nothing does."""

    settings: Settings
    store: Store
    opt_outs: OptOutStore
    tenants: Tenants
    admission: Admission
    outbound: Outbound
    clock: Clock
    events: Feed
    callbacks: CallbackStore
    sessions: RemoteSessions
    session_of: Callable[[str], SessionStatus]
    ready: Callable[[], Awaitable[list[str]]]
