"""A database that worked before there were events, attempts and callbacks: what was under way in it goes on."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from core.outbox import Claimed
from db.event_store import EventStore
from db.migrate import FOLDER, migrate
from db.session_store import SessionStore
from db.store import Store
from tests.db.candidates import KEY, Door
from tests.db.test_sessions import living

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from db.database import Database

    Open = Callable[..., Awaitable[Database]]

LAST_BEFORE = "0009"
ALIVE = 42
QUEUED, SENDING, SENT, UNKNOWN, DRY = (str(UUID(int=number)) for number in range(1, 6))

ROWS = """
INSERT INTO api_keys (tenant_id, api_key) VALUES ('shop', %(key)s), ('dry', 'other');
INSERT INTO sessions (tenant_id, state, jid, lid, process, leased_until, fence)
  VALUES ('shop', 'connected', '628111:7@s.whatsapp.net', '100:7@lid', 41, now() + interval '5 s', 3);
INSERT INTO lines (tenant_id, waiting) VALUES ('shop', '{0,0,0,0,1,0}'), ('dry', '{0,0,0,0,0,0}');
INSERT INTO messages (id, tenant_id, status, wa_id, process, fence, claimed_at, send_at, expires_at,
                      recipient, kind, content, mentions, priority, created_at, expected_at, ahead, in_line,
                      gap_ms, gaps, waived, counted, explanation, history)
  SELECT id::uuid, tenant, status, wa_id, process, fence,
         CASE WHEN status <> 'queued' THEN now() - interval '2 min' END, now() - interval '1 h', now() + interval '1 h',
         '628222', 'text', 'hi', '{}', 2, now(), now(), 0, true,
         0, '{}', '{}', '[]', '[]', '[]'
    FROM (VALUES (%(queued)s, 'shop', 'queued', NULL, NULL, NULL), (%(sending)s, 'shop', 'sending', NULL, 41, 3),
                 (%(sent)s, 'shop', 'sent', 'WA1', NULL, 3), (%(unknown)s, 'shop', 'unknown', NULL, NULL, 3),
                 (%(dry)s, 'dry', 'sending', NULL, 41, NULL)) m (id, tenant, status, wa_id, process, fence);
INSERT INTO incoming_messages (tenant_id, id, chat, sender, content, at)
  VALUES ('shop', 'IN', '628222', '628222', 'hello', now());
"""


@pytest.fixture
async def upgraded(open_database: Open, tmp_path: Path) -> Database:
    """With two tenants: one on WhatsApp and one dry, whose gateway died in the middle of sending."""
    for file in FOLDER.glob("*.sql"):
        if file.name[:4] <= LAST_BEFORE:
            shutil.copy(file, tmp_path)
    db = await open_database()
    await migrate(db, tmp_path)
    ids = {"queued": QUEUED, "sending": SENDING, "sent": SENT, "unknown": UNKNOWN, "dry": DRY}
    await db.execute(ROWS, {**ids, "key": KEY})
    assert await migrate(db)
    return db


async def test_what_was_in_flight_is_unknown_and_what_was_queued_goes(upgraded: Database) -> None:
    """There was no attempt by which it could be told; the first events are of this. The line is what the rows say."""
    door, sessions = Door(upgraded), SessionStore(upgraded)
    settled = await door.store.settle(10.0)
    assert {(change.message_id, change.status, change.cause) for change in settled} == {
        (SENDING, "unknown", "gateway_died"), (DRY, "unknown", "gateway_died"),
    }  # fmt: skip
    with living(upgraded.url, ALIVE):
        [lease] = await sessions.lease(ALIVE, ["shop"], 60)
        assert (lease.fence, lease.jid) == (5, "628111:7@s.whatsapp.net")
        claimed = await door.store.claim("shop", ALIVE, b"s" * 32)
        assert isinstance(claimed, Claimed)
        assert claimed.message.id == QUEUED
    await door.check_books()
    told = await EventStore(upgraded).after("shop", 0, 10)
    assert [(event.seq, event.type, event.about) for event in told.events] == [(1, "message.unknown", SENDING)]


async def test_receipts_and_messages_of_before_are_known(upgraded: Database) -> None:
    """A receipt for what was sent, one for what was unknown, and a message that no plugin has seen yet."""
    store, sessions = Store(upgraded), SessionStore(upgraded)
    assert await sessions.acked("shop", ["WA1"], "delivered", ALIVE) == {"WA1"}
    with living(upgraded.url, ALIVE):
        [(_, message)] = await store.claim_incoming(ALIVE, [], 10)
    assert (message.id, message.content) == ("IN", "hello")
    assert [change.message_id for change in await store.resend(["shop"])] == [UNKNOWN]
    page = await EventStore(upgraded).after("shop", 0, 10)
    assert [(event.type, event.about) for event in page.events] == [
        ("message.delivered", SENT), ("message.queued", UNKNOWN),
    ]  # fmt: skip
    assert (await SessionStore(upgraded).phones_missed(10)) == []
