"""What the library has opened and nobody has written down is named, once, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from core.model import Incoming
from core.session_rows import Arrival
from db.event_store import EventStore
from db.login_store import LoginStore
from db.session_store import SessionStore
from db.store import Store
from tests.db.test_sessions import living
from tests.db.whatsmeow_store import Store as Whatsmeow

if TYPE_CHECKING:
    from db.database import Database

TABLES = (Path(__file__).parents[2] / "db" / "whatsmeow" / "v15.sql").read_text(encoding="utf-8")
JID, LID = "628111111111:7@s.whatsapp.net", "100:7@lid"
CAROL, CAROL_LID = "628777@s.whatsapp.net", "777@lid"
INSERT = (
    "INSERT INTO whatsmeow_message_secrets (our_jid, chat_jid, sender_jid, message_id, key)"
    " VALUES (%s, %s, %s, %s, 's') ON CONFLICT DO NOTHING"
)
MESSAGE = Incoming(
    id="M1", tenant="shop", chat="628777", sender="628777", content="hi", at=datetime(2026, 1, 1, tzinfo=UTC)
)


@pytest.fixture
def library(database_url: str) -> Whatsmeow:
    """The library's tables, with the trigger, and the device of the tenant `shop` in them."""
    library = Whatsmeow(database_url, "shop")
    library.run(TABLES)
    library.run("SELECT wa_install_arrivals_v1()")
    library.run("SELECT wa_install_v1('device')")
    library.link(JID, lid=LID)
    return library


@pytest.fixture
async def sessions(db: Database) -> SessionStore:
    return SessionStore(db)


def opens(library: Whatsmeow, *ids: str, chat: str = CAROL_LID, sender: str = CAROL_LID) -> None:
    """The library opens messages, one after another."""
    for message_id in ids:
        library.run(INSERT, (JID, chat, sender, message_id))


def look(library: Whatsmeow, longest: str = "1 hour") -> list[tuple[Any, ...]]:
    """Two looks without patience in between: what the second one names."""
    library.run("SELECT name_lost_v1('0', %s)", (longest,))
    return library.run("SELECT id, chat, sender FROM name_lost_v1('0', %s)", (longest,))


async def test_what_a_dead_process_had_is_named_once_by_number_where_that_is_known(
    library: Whatsmeow, sessions: SessionStore, db: Database
) -> None:
    """As an event of the tenant, in the order in which they came; who looks again finds nothing."""
    await sessions.lease(1, ["shop"], 60)
    library.run("INSERT INTO whatsmeow_lid_map (lid, pn) VALUES ('777', '628777')")
    opens(library, "A", "B")
    opens(library, "C", chat="1203@g.us", sender="888@lid")
    assert look(library) == [("A", "628777", "628777"), ("B", "628777", "628777"), ("C", "1203@g.us", "888@lid")]
    assert look(library) == []
    told = (await EventStore(db).after("shop", 0, 100, ["message.lost"])).events
    assert [(event.chat, event.data["id"], event.data["sender"]) for event in told] == [
        ("628777", "A", "628777"), ("628777", "B", "628777"), ("1203@g.us", "C", "888@lid"),
    ]  # fmt: skip


async def test_what_has_a_row_or_is_a_signal_is_not_lost(
    library: Whatsmeow, sessions: SessionStore, db: Database
) -> None:
    """The statement that keeps the message says that it has arrived."""
    opens(library, "M1", "S1", "M2")
    await Store(db).add_incoming(MESSAGE)
    await Store(db).add_incoming(replace(MESSAGE, id="M2"), "image")
    await sessions.arrived("shop", "S1")
    opens(library, "M1", chat=CAROL, sender=CAROL)
    assert library.run("SELECT * FROM arrivals") == []
    assert look(library) == []


async def test_what_a_living_process_holds_is_not_lost_before_long(
    library: Whatsmeow, sessions: SessionStore, database_url: str
) -> None:
    """It writes as soon as PostgreSQL lets it; another holder's number means that it has let go."""
    with living(database_url, 1, 2):
        await sessions.lease(1, ["shop"], 60)
        opens(library, "A", "B")
        assert look(library) == []
        library.run("UPDATE arrivals SET at = now() - interval '1 hour' WHERE id = 'A'")
        assert [row[0] for row in look(library, "10 minutes")] == ["A"]
        await sessions.release(1, ["shop"], None)
        await sessions.lease(2, ["shop"], 60)
        assert [row[0] for row in look(library)] == ["B"]


async def test_who_may_still_write_has_thirty_seconds(library: Whatsmeow, sessions: SessionStore) -> None:
    """From the moment at which somebody saw that nobody holds it, not from its arrival."""
    opens(library, "A")
    library.run("UPDATE arrivals SET at = now() - interval '1 day'")
    assert await sessions.lost() == []
    assert await sessions.lost() == []
    library.run("UPDATE arrivals SET missed_at = missed_at - interval '31 seconds'")
    assert await sessions.lost() == [Arrival("shop", "A", "777@lid", "777@lid")]


async def test_the_connection_s_own_fence_counts(library: Whatsmeow, sessions: SessionStore, database_url: str) -> None:
    """A process that lost its lease, and writes late, has nobody who will take its messages."""
    with living(database_url, 1):
        await sessions.lease(1, ["shop"], 60)
        library.run_all([("SELECT set_config('wa.fence', '0', false)", ()), (INSERT, (JID, CAROL, CAROL, "OLD"))])
        library.run_all([("SELECT set_config('wa.fence', '1', false)", ()), (INSERT, (JID, CAROL, CAROL, "NEW"))])
        assert [row[0] for row in look(library)] == ["OLD"]


async def test_own_messages_status_channels_and_foreign_devices_are_no_arrivals(library: Whatsmeow) -> None:
    """What the tenant writes on the phone or from here, and what is not for it."""
    opens(library, "OWN", sender="628111111111@s.whatsapp.net")
    opens(library, "OWN-LID", sender="100@lid")
    opens(library, "STATUS", chat="status@broadcast")
    opens(library, "CHANNEL", chat="1203@newsletter", sender="1203@newsletter")
    other = Whatsmeow(library.url, None)
    other.link("628999:1@s.whatsapp.net", lid=None)
    other.run(INSERT, ("628999:1@s.whatsapp.net", CAROL, CAROL, "FOREIGN"))
    assert library.run("SELECT id FROM arrivals") == []


async def test_a_history_is_no_loss(library: Whatsmeow) -> None:
    """Its secrets come in one transaction, those of messages one by one."""
    library.run_all([(INSERT, (JID, CAROL, CAROL, f"H{number}")) for number in range(3)])
    opens(library, "A")
    assert [row[0] for row in look(library)] == ["A"]
    assert library.run("SELECT * FROM arrivals") == []


async def test_what_nobody_can_open_again_is_lost_unless_there_is_a_row(
    library: Whatsmeow, sessions: SessionStore, db: Database
) -> None:
    """A process died between opening it and writing its secret. Own messages are nobody's loss."""
    library.run("INSERT INTO sessions (tenant_id, jid, lid) VALUES ('shop', %s, %s)", (JID, LID))
    await Store(db).add_incoming(MESSAGE)
    for message_id, sender in (("M1", CAROL), ("OWN", "100@lid"), ("OWN", "628111111111:2@s.whatsapp.net")):
        await sessions.miss(Arrival("shop", message_id, CAROL, sender))
    await sessions.miss(Arrival("shop", "STATUS", "status@broadcast", CAROL))
    await sessions.miss(Arrival("shop", "GONE", CAROL, CAROL))
    await sessions.miss(Arrival("shop", "GONE", CAROL, CAROL))
    assert look(library) == [("GONE", "628777", "628777")]


async def test_the_trigger_never_fails_the_library_s_write(library: Whatsmeow) -> None:
    """Neither without the table that it writes to nor with settings that say nothing."""
    library.run_all([("SELECT set_config('wa.fence', 'x', false)", ()), (INSERT, (JID, CAROL, CAROL, "A"))])
    library.run("DROP TABLE arrivals")
    opens(library, "B")
    assert library.run("SELECT message_id FROM whatsmeow_message_secrets ORDER BY 1") == [("A",), ("B",)]


async def test_the_trigger_comes_back_with_the_table(library: Whatsmeow, db: Database) -> None:
    """Tables that were dropped and made anew, or a trigger that was disabled, get it at the next opening."""
    logins = LoginStore(db)
    library.run("DROP TABLE whatsmeow_message_secrets")
    await logins.install()
    [table] = [part for part in TABLES.split(";\n\n") if "CREATE TABLE whatsmeow_message_secrets" in part]
    library.run(table)
    await logins.install()
    opens(library, "A")
    library.run('ALTER TABLE whatsmeow_message_secrets DISABLE TRIGGER "Arrivals_v1"')
    await logins.install()
    opens(library, "B")
    assert library.run("SELECT id FROM arrivals ORDER BY 1") == [("A",), ("B",)]


async def test_a_message_that_comes_again_under_the_person_s_other_address_is_one(db: Database) -> None:
    """One id of WhatsApp's is one message of a tenant, by number or by LID."""
    store = Store(db)
    assert await store.add_incoming(MESSAGE)
    assert not await store.add_incoming(replace(MESSAGE, chat="777@lid", sender="777@lid", lid="777@lid"))
    assert await store.add_incoming(replace(MESSAGE, tenant="cafe"))
    assert len((await EventStore(db).after("shop", 0, 10, ["message.received"])).events) == 1


@pytest.mark.parametrize("kind", ["image", "reaction", "unsupported"])
async def test_only_texts_are_shown_to_plugins(db: Database, kind: Any) -> None:
    """Any other kind is a row and an event, and nobody claims it."""
    store = Store(db)
    await store.add_incoming(MESSAGE, kind)
    assert await store.claim_incoming(1, (), 10) == []
    assert await store.incoming_replies("shop", "M1") == []
    [event] = (await EventStore(db).after("shop", 0, 10)).events
    assert (event.type, event.data["kind"], event.data["content"]) == ("message.received", kind, "hi")
