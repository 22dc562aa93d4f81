"""Events for whoever asks for them, at once or as soon as something happens."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from core.errors import Gone, OverLimit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.clock import Clock
    from core.event_rows import EventPage
    from db.event_store import EventStore

LOOK_AGAIN = 2.0
"""Seconds after which a reader who waits looks by itself: not every event is announced to every gateway."""

MOST_WAITING = 64
"""Readers of one tenant who may wait here at once. Each asks the database at every event of the tenant: one tenant's
readers shall not take its connections from all others."""


class Feed:
    """Reads tenants' events. Readers who wait are woken by `heard`."""

    def __init__(self, store: EventStore, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._closed = False

    async def newest(self, tenant: str) -> int:
        """The number of the tenant's newest event; 0 when there is none."""
        return (await self._store.after(tenant, 0, 1)).last

    async def page(
        self, tenant: str, after: int | None, most: int, types: Sequence[str], patience: float
    ) -> EventPage:  # fmt: skip
        """Up to `most` events of these types behind number `after` (None: from the oldest on). While there is none,
        wait for one up to `patience` seconds. Raises Gone when events behind `after` are not kept any more, or it is
        a number that no event has had yet; OverLimit when too many of the tenant's readers wait already."""
        if patience and len(self._waiting.get(tenant, ())) >= MOST_WAITING:
            detail = f"{MOST_WAITING} readers of this tenant wait already; one is enough for all events"
            raise OverLimit("too_many_waiting", detail, field="wait", retry_after=LOOK_AGAIN)
        until = self._clock.monotonic() + patience
        with self._wakes(tenant) as news:
            while True:
                news.clear()
                page = await self._store.after(tenant, after or 0, most, types)
                if after is not None:
                    _check_cursor(after, page)
                left = until - self._clock.monotonic()
                if page.events or left <= 0 or self._closed:
                    return page
                after = page.next
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left, LOOK_AGAIN)):
                        await news.wait()

    def heard(self, tenant: str) -> None:
        """Something has happened to the tenant."""
        for news in self._waiting.get(tenant, ()):
            news.set()

    def close(self) -> None:
        """Nobody waits any more: who does is answered with what there is."""
        self._closed = True
        for tenant in self._waiting:
            self.heard(tenant)

    @contextlib.contextmanager
    def _wakes(self, tenant: str) -> Iterator[asyncio.Event]:
        news = asyncio.Event()
        self._waiting.setdefault(tenant, set()).add(news)
        try:
            yield news
        finally:
            self._waiting[tenant].discard(news)
            if not self._waiting[tenant]:
                del self._waiting[tenant]


def _check_cursor(after: int, page: EventPage) -> None:
    if after < page.first - 1 or after > page.last:
        why = "some were deleted since" if after < page.first else "no event has had that number yet"
        raise Gone(
            "cursor_gone",
            f"there is no going on after {after}: {why}; begin again without `after`",
            field="after",
            oldest=page.first,
            newest=page.last,
        )
