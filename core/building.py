"""What a gateway is built of: the calls to its database, and the ways that messages and news take through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core import channels
from core.paths.admission import Admission
from core.paths.batcher import Batcher
from core.paths.bell import Bell
from core.paths.callbacks import Callbacks
from core.paths.events import Feed
from core.paths.forgetting import Forgetting
from core.paths.housekeeping import Housekeeping
from core.paths.outbound import Outbound
from core.paths.sender import Sender
from core.paths.statuses import Statuses
from core.paths.telling import Telling

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.clock import Clock
    from core.model import Outgoing
    from core.settings import Settings
    from core.tenants import Tenants
    from core.transport.base import SessionStatus, Transport
    from db.callback_store import CallbackStore
    from db.event_store import EventStore
    from db.opt_out_store import OptOutStore
    from db.reader_store import ReaderStore
    from db.session_store import SessionStore
    from db.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Typed calls to one database."""

    messages: Store
    opt_outs: OptOutStore
    sessions: SessionStore
    events: EventStore
    readers: ReaderStore
    callbacks: CallbackStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What every way stands on. `process`: the number by which others see that this gateway lives."""

    stores: Stores
    settings: Settings
    tenants: Tenants
    clock: Clock
    process: int


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Whom it concerns that something has happened to a tenant: who waits for a message, who reads events, the URLs
    that want them, plugins."""

    statuses: Statuses
    feed: Feed
    callbacks: Callbacks
    telling: Telling

    def heard(self, tenant: str) -> None:
        """There is an event."""
        self.feed.heard(tenant)
        self.callbacks.heard(tenant)
        self.statuses.heard(tenant)
        self.telling.heard(tenant)


@dataclass(frozen=True, slots=True, kw_only=True)
class WayOut:
    """From a caller's request to a transport."""

    admission: Admission
    batcher: Batcher
    bell: Bell
    sender: Sender
    outbound: Outbound


def build_news(ground: Ground) -> News:
    """Nothing runs yet."""
    stores, tenants, clock, process = ground.stores, ground.tenants, ground.clock, ground.process
    return News(
        statuses=Statuses(stores.readers),
        feed=Feed(stores.events, clock),
        callbacks=Callbacks(stores.callbacks, stores.events, ground.settings, tenants, clock, process=process),
        telling=Telling(stores.readers, stores.events, tenants, clock, process=process),
    )


def build_way_out(  # noqa: PLR0913 - handed over once
    ground: Ground,
    statuses: Statuses,
    *,
    transport_of: Callable[[str], Transport | None],
    session_of: Callable[[str], SessionStatus],
    is_listening: Callable[[], bool],
    on_admitted: Callable[[Outgoing], None],
) -> WayOut:
    """Nothing runs yet. `transport_of(tenant)`: None when another process sends its messages; `is_listening()`:
    PostgreSQL is there; `on_admitted` is told of each message that is stored."""
    store, clock = ground.stores.messages, ground.clock
    batcher = Batcher(store, clock)
    return WayOut(
        admission=Admission(
            store,
            ground.tenants,
            batcher,
            clock,
            expectable=lambda tenant: session_of(tenant).state == "connected",
            on_admitted=on_admitted,
        ),
        batcher=batcher,
        bell=Bell(store, channels.OUTBOX),
        sender=Sender(
            store,
            clock,
            transport_of,
            process=ground.process,
            may_send=lambda: is_listening() and not batcher.doubtful,
            on_recorded=statuses.publish,
        ),
        outbound=Outbound(store, clock, statuses, batcher.forget_answers),
    )


def build_housekeeping(ground: Ground, statuses: Statuses, batcher: Batcher) -> Housekeeping:
    """Nothing runs yet."""
    stores, settings = ground.stores, ground.settings
    return Housekeeping(
        stores.messages,
        stores.sessions,
        ground.clock,
        statuses,
        batcher,
        forgetting=Forgetting(
            stores.messages,
            stores.events,
            stores.callbacks,
            keep_daily_limits=settings.keep_daily_limits,
            keep_events=settings.keep_events,
            keep_messages=settings.keep_messages,
        ),
        resends=lambda tenant: settings.tenant(tenant).on_unknown == "resend",
    )
