"""The fence inside whatsmeow's own tables: who has lost a session's lease writes nothing that a message needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg2
import pytest

from core.transport.whatsapp.errors import explain_send
from db.login_store import FENCED
from tests.db.whatsmeow_store import INSERTS, Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import PostgresServer

JID, LID, OTHERS = "628111111111:7@s.whatsapp.net", "100:7@lid", "628999:1"
GROUP = "1203@g.us"
WRITES = {
    "a session": ("sessions", (JID, "628222:3", b"{}")),
    "our sender key": ("sender_keys", (JID, GROUP, "100_1:7", b"{}")),
    "our old sender key": ("sender_keys", (JID, GROUP, "628111111111:7", b"{}")),
}


@dataclass
class Fenced:
    """A client's connections that say whose they are and under which fence."""

    url: str
    tenant: str | None
    fence: str | None

    def put(self, table: str, *values: object) -> None:
        """Write one row as the library does. Raises psycopg2.Error."""
        connection = psycopg2.connect(self.url)
        try:
            with connection, connection.cursor() as cursor:
                for name, value in (("wa.tenant", self.tenant), ("wa.fence", self.fence)):
                    if value is not None:
                        cursor.execute("SELECT set_config(%s, %s, false)", (name, value))
                cursor.execute(INSERTS[table], values)
        finally:
            connection.close()


@pytest.fixture
def url(postgres: PostgresServer, library_template: str) -> Iterator[str]:
    """A database with whatsmeow's tables, a device in them, and its tenant's session under fence 3."""
    with postgres.database(library_template) as url:
        store = Store(url, None)
        store.link(JID, lid=LID)
        store.run("INSERT INTO sessions (tenant_id, fence, jid, lid) VALUES ('shop', 3, %s, %s)", (JID, LID))
        for table in FENCED:
            assert store.run("SELECT wa_install_fence_v1(%s)", (table,)) == [(True,)]
        yield url


@pytest.mark.parametrize("what", WRITES)
@pytest.mark.parametrize(("tenant", "fence"), [("shop", "2"), ("shop", "4"), ("shop", "x"), ("cafe", "3")])
def test_another_fence_is_refused(url: str, what: str, tenant: str, fence: str) -> None:
    """An older one, one that cannot be, and that of a tenant without a session: nothing is written, and the error is
    one after which the message is known not to have left."""
    table, values = WRITES[what]
    with pytest.raises(psycopg2.Error, match="gapura fence:") as refused:
        Fenced(url, tenant, fence).put(table, *values)
    assert refused.value.pgcode == "GAF01"
    meant = explain_send(f"failed to save cached sessions: pq: {refused.value}")
    assert (meant.cause, meant.left, meant.retry) == ("lease_lost", False, True)
    assert Store(url, None).run(f"SELECT count(*) FROM whatsmeow_{table}") == [(0,)]


@pytest.mark.parametrize("what", WRITES)
@pytest.mark.parametrize(("tenant", "fence"), [("shop", "3"), ("shop", None), ("shop", ""), (None, "2"), (None, None)])
def test_the_holder_and_who_shows_no_fence_may_write(
    url: str, what: str, tenant: str | None, fence: str | None
) -> None:
    """Moving in and restoring write without one; so does a client of an older Gapura during a deploy."""
    table, values = WRITES[what]
    for _ in range(2):  # an INSERT, and an UPDATE of the same row
        Fenced(url, tenant, fence).put(table, *values)
    assert Store(url, None).run(f"SELECT count(*) FROM whatsmeow_{table}") == [(1,)]


def test_a_row_that_is_there_is_not_changed_either(url: str) -> None:
    """The next message in a conversation is an UPDATE."""
    Fenced(url, "shop", "3").put("sessions", JID, "628222:3", b"{}")
    with pytest.raises(psycopg2.Error, match="gapura fence:"):
        Fenced(url, "shop", "2").put("sessions", JID, "628222:3", b"[]")


def test_what_others_say_in_groups_may_be_kept(url: str) -> None:
    """Only what goes out is fenced: their keys do no harm with anybody."""
    Fenced(url, "shop", "2").put("sender_keys", JID, GROUP, OTHERS, b"{}")


def test_it_is_put_back_where_it_is_missing_or_disabled(url: str) -> None:
    """Installing again changes nothing; after a DROP or a DISABLE it mends it; a table that is not there is none."""
    store = Store(url, None)
    assert store.run("SELECT wa_install_fence_v1('sessions')") == [(False,)]
    for damage in ('DROP TRIGGER "Fence_v1" ON %s', 'ALTER TABLE %s DISABLE TRIGGER "Fence_v1"'):
        store.run(damage % "whatsmeow_sessions")
        assert store.run("SELECT wa_install_fence_v1('sessions')") == [(True,)]
        with pytest.raises(psycopg2.Error, match="gapura fence:"):
            Fenced(url, "shop", "2").put("sessions", JID, "628222:3", b"{}")
    assert store.run("SELECT wa_install_fence_v1('no_such_table')") == [(False,)]
