"""auth_creds and auth_keys beside whatsmeow's own tables, which the real library has made."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg2
import pytest

from core.baileys.places import Damaged
from core.errors import CommandError, DatabaseUnavailable, OpenFailed
from core.sessions.logins import Logins, bind_logins
from core.sessions.mirrored import read_mirror
from core.transport.whatsapp.database import STORE_VERSION
from db.connection import connect
from db.database import Database
from db.login_store import MIRRORED, LoginStore
from db.migrate import migrate
from tests.conftest import PATIENT
from tests.db.whatsmeow_store import Store, random_operations, record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import PostgresServer

JID, LID = "628111111111:7@s.whatsapp.net", "100:7@lid"
OTHER = "628333333333:2@s.whatsapp.net"
ODD = "Toko 'Öl' \"&=+%;\\ /ü?#"
RECORD = json.dumps(record(), separators=(",", ":")).encode()


@pytest.fixture
def url(postgres: PostgresServer, library_template: str) -> Iterator[str]:
    """A database of this test's own, with whatsmeow's tables and the mirror's triggers."""
    with postgres.database(library_template) as url:
        for table in MIRRORED:
            Store(url, None).run("SELECT wa_install_v1(%s)", (table,))
        yield url


@pytest.fixture
def shop(url: str) -> Store:
    """The store of the tenant `shop`, linked."""
    store = Store(url, "shop")
    store.link(JID)
    return store


@pytest.fixture
async def logins(loop: asyncio.AbstractEventLoop, url: str) -> Any:
    """LoginStore on that database."""
    database = await Database.open(url, **PATIENT)
    yield LoginStore(database)
    await database.close()


async def _no_tables() -> None:
    raise AssertionError("nobody has to make tables")


def buffer(data: bytes) -> dict[str, str]:
    return {"type": "Buffer", "data": base64.b64encode(data).decode()}


def drop_store(store: Store) -> None:
    """Every table of whatsmeow's, as an operator might."""
    for (table,) in store.run("SELECT tablename FROM pg_tables WHERE tablename ~ '^whatsmeow_'"):
        store.run(f"DROP TABLE {table} CASCADE")


def test_the_library_makes_the_version_that_is_expected(url: str) -> None:
    """STORE_VERSION is what this neonize makes; with another one the mirror's tables are to be looked at again."""
    assert Store(url, None).run("SELECT wa_store_version_v1()") == [(STORE_VERSION,)]


def test_creds_are_written_as_the_old_gateway_wrote_them(shop: Store) -> None:
    """One row, marked as whatsmeow's; Buffers and texts where they were, the rest of the row beside them."""
    creds = shop.creds("shop")
    assert next(iter(creds)) == "format"
    assert creds["format"] == "whatsmeow"
    assert creds["noiseKey"] == {"private": buffer(bytes(32))}
    assert creds["signedPreKey"]["keyPair"]["private"] == buffer(b"\x02" * 32)
    assert creds["signedPreKey"]["keyId"] == 1
    assert creds["me"] == {"id": JID, "lid": LID, "name": "Toko"}
    assert creds["registrationId"] == 4294967295
    assert base64.b64decode(creds["account"]["details"]) == b"\x0a\x00details"
    assert creds["whatsmeow"]["lid_migration_ts"] == 0


def test_keys_have_the_names_that_baileys_gave_them(shop: Store) -> None:
    """Each kind under its name; sessions and sender keys are whatsmeow's own JSON, other bytes are Buffers."""
    shop.put("sessions", JID, "628222:3", RECORD)
    shop.put("identity_keys", JID, "123_1:7", b"i" * 32)
    shop.put("pre_keys", JID, 5, b"p" * 32, True)
    shop.put("sender_keys", JID, "1203@g.us", "123_1:7", b'{"SenderKeyStates":[]}')
    shop.put("app_state_sync_keys", JID, b"\x00\x01\xff", b"k" * 32, 17, b"f")
    assert shop.mirror("shop") == {
        "session-628222.3": record(),
        "identity-key-123_1.7": buffer(b"\x05" + b"i" * 32),
        "pre-key-5": {"private": buffer(b"p" * 32), "uploaded": True},
        "sender-key-1203@g.us::123_1::7": {"SenderKeyStates": []},
        "app-state-sync-key-AAH/": {
            "keyData": base64.b64encode(b"k" * 32).decode(),
            "timestamp": "17",
            "fingerprint": buffer(b"f"),
        },
    }
    assert shop.differences("shop") == []


@pytest.mark.parametrize("seed", range(3))
def test_the_mirror_equals_the_store_after_random_operations(url: str, seed: int) -> None:
    """1,000 writes, deletions and renamings of three devices in transactions of any size, some rolled back: each
    tenant's mirror says what its device's rows say, and a device that is nobody's is in no mirror."""
    chance = random.Random(seed)
    nobody = "628999:1@s.whatsapp.net"
    Store(url, "shop").link(JID)
    Store(url, ODD).link(OTHER, lid=None)
    Store(url, None).link(nobody)
    operation, done = random_operations(chance, [JID, OTHER, nobody]), 0
    connection = psycopg2.connect(url)
    while done < 1000:
        with connection.cursor() as cursor:
            for _ in range(chance.randint(1, 40)):
                cursor.execute(*operation())
                done += 1
        (connection.rollback if chance.random() < 0.2 else connection.commit)()
    connection.close()
    store = Store(url, None)
    assert store.differences("shop") == store.differences(ODD) == []
    assert store.run("SELECT DISTINCT tenant_id FROM auth_keys ORDER BY 1") == sorted([("shop",), (ODD,)])
    for tenant, jid in (("shop", JID), (ODD, OTHER)):
        mirrored = read_mirror(*_as_read(store, tenant))
        assert mirrored.damaged == ()
        for table, rows in mirrored.store.items():
            column = "jid" if table in ("device", "pre_keys", "app_state_sync_keys") else "our_jid"
            query = f"SELECT to_jsonb(t) FROM whatsmeow_{table} t WHERE {column} = %s"
            assert _sorted(rows) == _sorted([row for (row,) in store.run(query, (jid,))])


def _as_read(store: Store, tenant: str) -> tuple[str | None, list[tuple[str, str | None]]]:
    creds = store.run("SELECT data FROM auth_creds WHERE tenant_id = %s", (tenant,))
    keys = store.run("SELECT key, value FROM auth_keys WHERE tenant_id = %s", (tenant,))
    return (creds[0][0] if creds else None), [(key, value) for key, value in keys]


def _sorted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: sorted(map(str, row.items())))


HOSTILE = {
    "empty": b"",
    "no UTF-8": b'{"\xff\xfe":1}',
    "NUL": b'{"a":"\x00"}',
    "a backslash": b'{"a":"\\u0000"}',
    "no JSON": b"{",
    "looks like a Buffer": b'{"type":"Buffer","data":"AAAA"}',
    "big": b'{"a":"' + b"x" * 3_000_000 + b'"}',
    "no mapping": b"[1]",
}


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_whatever_whatsmeow_writes_is_written_and_comes_back(shop: Store, value: bytes) -> None:
    """No bytes in a session can make the library's own write fail, and what is not its JSON is kept byte for byte."""
    shop.put("sessions", JID, "1:1", value)
    assert shop.run("SELECT session FROM whatsmeow_sessions")[0][0].tobytes() == value
    assert shop.differences("shop") == []
    mirrored = read_mirror(*_as_read(shop, "shop"))
    if value == b"{":
        assert mirrored.damaged == ("session-1.1",)
    else:
        assert bytes.fromhex(mirrored.store["sessions"][0]["session"][2:]) == value


@pytest.mark.parametrize("name", ["", "x" * 255, "ü" * 2000, "a\nb", "::", ":", "1.1", "1:1:1", "%s", "'; --"])
def test_no_name_can_make_a_write_fail(shop: Store, name: str) -> None:
    """Addresses and chats of any text are written; what a key has no room for is left out, and `check` knows that."""
    shop.put("sessions", JID, name, RECORD)
    shop.put("sender_keys", JID, name, name, RECORD)
    shop.put("identity_keys", JID, name, b"i" * 32)
    assert shop.run("SELECT count(*) FROM whatsmeow_sessions") == [(1,)]
    assert shop.differences("shop") == []
    read = read_mirror(*_as_read(shop, "shop"))
    assert [row["their_id"] for row in read.store.get("sessions", [])] in ([name], [])


@pytest.mark.parametrize(
    "harm",
    [
        "DROP TABLE auth_keys",
        "ALTER TABLE auth_keys ALTER value SET NOT NULL, ADD CHECK (length(value) < 3)",
        "ALTER TABLE auth_keys RENAME COLUMN value TO v",
        "ALTER SEQUENCE auth_keys_id_seq MAXVALUE 2 RESTART 2",
        "DROP TABLE wa_devices",
        "DROP FUNCTION wa_fits",
        "DROP TABLE auth_creds",
    ],
)
def test_a_broken_mirror_does_not_stop_the_library(shop: Store, harm: str) -> None:
    """Somebody altered or dropped what the mirror is made of: whatsmeow's writes and its logout go through."""
    shop.run(harm)
    for number in range(3):
        shop.put("sessions", JID, f"1:{number}", RECORD)
        shop.put("pre_keys", JID, number, b"p" * 32, False)
    shop.link(JID, push_name="Toko Baru")
    assert shop.run("SELECT count(*), max(push_name) FROM whatsmeow_sessions, whatsmeow_device") == [(3, "Toko Baru")]
    shop.run("DELETE FROM whatsmeow_device")
    assert shop.run("SELECT count(*) FROM whatsmeow_pre_keys") == [(0,)]


def test_keys_do_not_use_up_the_sequence(shop: Store) -> None:
    """A message is an update of a row: auth_keys.id, which ends at 2^31, does not move with each."""
    for number in range(20):
        shop.put("sessions", JID, "1:1", b'{"n":%d}' % number)
    assert shop.run("SELECT last_value FROM auth_keys_id_seq") == [(1,)]


def test_what_did_not_change_is_not_written_again(shop: Store) -> None:
    """whatsmeow writes the same identity at every message: the mirror's row stays as it is."""
    shop.put("identity_keys", JID, "1:1", b"i" * 32)
    before = shop.run("SELECT xmin::text FROM auth_keys")
    shop.put("identity_keys", JID, "1:1", b"i" * 32)
    assert shop.run("SELECT xmin::text FROM auth_keys") == before


def test_logging_out_empties_both(shop: Store) -> None:
    """The library deletes its device: the login is gone from all tables in the same transaction, other tenants stay."""
    Store(shop.url, "other").link(OTHER)
    Store(shop.url, "other").put("sessions", OTHER, "1:1", RECORD)
    shop.put("sessions", JID, "1:1", RECORD)
    shop.run("DELETE FROM whatsmeow_device WHERE jid = %s", (JID,))
    assert shop.run("SELECT tenant_id FROM auth_creds UNION ALL SELECT tenant_id FROM auth_keys") == [("other",)] * 2
    assert shop.run("SELECT tenant_id FROM wa_devices") == [("other",)]


def test_a_second_device_of_a_tenant_is_ignored(shop: Store) -> None:
    """While a tenant has a device, no other one of it changes its login; logging that out does not empty it either."""
    shop.put("sessions", JID, "1:1", RECORD)
    before = shop.creds("shop"), shop.mirror("shop")
    shop.link(OTHER)
    shop.put("sessions", OTHER, "2:2", RECORD)
    shop.run("DELETE FROM whatsmeow_device WHERE jid = %s", (OTHER,))
    assert (shop.creds("shop"), shop.mirror("shop")) == before


def test_tenants_never_mix(url: str) -> None:
    """One contact and one group in two tenants, one with an odd id: each keeps its own rows."""
    shop, odd = Store(url, "shop"), Store(url, ODD)
    for store, jid, value in ((shop, JID, b'{"of":"shop"}'), (odd, OTHER, b'{"of":"odd"}')):
        store.link(jid)
        store.put("sessions", jid, "628222:0", value)
        store.put("sender_keys", jid, "1203@g.us", "628222:0", value)
    for store, of in ((shop, "shop"), (odd, "odd")):
        keys = store.mirror(store.tenant or "")
        assert keys == {"session-628222.0": {"of": of}, "sender-key-1203@g.us::628222::0": {"of": of}}


def test_rows_of_the_old_gateway_are_kept_when_its_tenant_is_linked_anew(url: str) -> None:
    """A new login takes the place of the old one's rows; those are put aside, not lost."""
    store = Store(url, "shop")
    store.run("INSERT INTO auth_creds (tenant_id, data) VALUES ('shop', '{\"me\":null}')")
    store.run("INSERT INTO auth_keys (tenant_id, key, value) VALUES ('shop', 'pre-key-1', '{}')")
    store.link(JID)
    assert store.creds("shop")["format"] == "whatsmeow"
    assert store.mirror("shop") == {}
    kept = store.run("SELECT tenant_id, creds, keys FROM auth_replaced")
    assert kept == [("shop", '{"me":null}', {"pre-key-1": "{}"})]


# What is done before a device is opened


async def test_a_device_that_was_given_again_has_one_owner(shop: Store, logins: LoginStore) -> None:
    """WhatsApp gives numbers of devices again: the login is whose it is now, and nothing of it stays with another."""
    other = Store(shop.url, "other")
    other.link(JID, push_name="given again")
    other.put("sessions", JID, "1:1", RECORD)
    assert await logins.fitness("other", JID) == "ready"
    assert shop.creds("shop") is None
    assert shop.mirror("shop") == {}
    assert list(other.mirror("other")) == ["session-1.1"]
    assert shop.run("SELECT count(*) FROM whatsmeow_device") == [(1,)]


async def test_a_session_that_names_another_device_is_absent(shop: Store, logins: LoginStore) -> None:
    """What a session's row says is not there is not invented from another device's login, which stays as it is."""
    assert await logins.fitness("shop", OTHER) == "absent"
    assert shop.creds("shop")["me"]["id"] == JID
    assert shop.run("SELECT count(*) FROM whatsmeow_device") == [(1,)]


async def test_a_lost_store_is_made_again_from_the_mirror(shop: Store, logins: LoginStore) -> None:
    """Every row of every kind comes back as it was, also through tables that are new, and stays mirrored."""
    chance = random.Random(7)
    operation = random_operations(chance, [JID])
    shop.run_all([operation() for _ in range(300)])
    before, mirror = shop.dump(), (shop.creds("shop"), shop.mirror("shop"))
    for table in MIRRORED[1:]:
        shop.run(f"TRUNCATE whatsmeow_{table}")
    shop.run("TRUNCATE whatsmeow_device CASCADE")
    assert await Logins(logins, STORE_VERSION, _no_tables).unfit("shop", JID) is None
    assert shop.dump() == before
    assert (shop.creds("shop"), shop.mirror("shop")) == mirror
    shop.put("sessions", JID, "9:9", RECORD)
    assert shop.differences("shop") == []


async def test_tables_are_made_when_there_are_none(shop: Store, logins: LoginStore) -> None:
    """The library is asked to make them once; a library that cannot is an error and nothing is opened."""
    before = shop.dump()
    drop_store(shop)
    program = Path(__file__).with_name("whatsmeow_tables.py")

    async def make() -> None:
        process = await asyncio.create_subprocess_exec(sys.executable, str(program), shop.url)
        assert await process.wait() == 0

    assert await Logins(logins, STORE_VERSION, make).unfit("shop", JID) is None
    assert shop.dump() == before
    assert await logins.untriggered() == []


async def test_tables_of_which_some_are_gone_are_not_made(shop: Store, logins: LoginStore) -> None:
    """The library adds to a store that is there by its version alone. What is said is what to drop; once that is
    done, they are made and the login is restored."""
    shop.run("DROP TABLE whatsmeow_sessions CASCADE")

    program = Path(__file__).with_name("whatsmeow_tables.py")

    async def make() -> None:
        process = await asyncio.create_subprocess_exec(sys.executable, str(program), shop.url)
        await process.wait()

    opening = Logins(logins, STORE_VERSION, make)
    with pytest.raises(OpenFailed, match="drop those that are left"):
        await opening.unfit("shop", JID)
    drop_store(shop)
    assert await opening.unfit("shop", JID) is None
    assert shop.differences("shop") == []


async def test_damaged_creds_stop_their_tenant_with_the_place(shop: Store, logins: LoginStore) -> None:
    """Code and path of what is wrong, and nothing of what is there; the tables stay empty, and others go on."""
    Store(shop.url, "other").link(OTHER)
    shop.run("TRUNCATE whatsmeow_device CASCADE")
    shop.run("UPDATE auth_creds SET data = replace(data, 'AAAAAAAA', 'AAAA') WHERE tenant_id = 'shop'")
    fit = Logins(logins, STORE_VERSION, _no_tables)
    state, reason = await fit.unfit("shop", JID) or ("", "")
    assert state == "disconnected"
    assert "bad_length: $.noiseKey.private" in reason
    assert "AAAA" not in reason
    assert await fit.unfit("other", OTHER) is None
    assert shop.run("SELECT jid FROM whatsmeow_device") == [(OTHER,)]


async def test_a_damaged_key_is_left_out(shop: Store, logins: LoginStore, caplog: pytest.LogCaptureFixture) -> None:
    """That conversation begins afresh; the login, and the other keys, are used. The log says which key it was."""
    shop.put("sessions", JID, "1:1", RECORD)
    shop.put("sessions", JID, "2:2", RECORD)
    shop.run("TRUNCATE whatsmeow_device CASCADE")
    shop.run('UPDATE auth_keys SET value = \'{"type":"Buffer","data":"?"}\' WHERE key = \'session-1.1\'')
    assert await Logins(logins, STORE_VERSION, _no_tables).unfit("shop", JID) is None
    assert shop.run("SELECT their_id FROM whatsmeow_sessions") == [("2:2",)]
    assert shop.differences("shop") == []
    assert "session-1.1" in caplog.text


async def test_a_deleted_row_of_auth_creds_means_a_new_scan(shop: Store, logins: LoginStore) -> None:
    """The old gateway's way to force one: the keys go at once, nothing of the device is mirrored any more, and it is
    gone from the store when it should be opened next."""
    shop.put("sessions", JID, "1:1", RECORD)
    shop.run("DELETE FROM auth_creds")
    shop.put("sessions", JID, "1:1", b'{"n":2}')
    shop.link(JID, push_name="still open")
    assert (shop.creds("shop"), shop.mirror("shop")) == (None, {})
    found = await Logins(logins, STORE_VERSION, _no_tables).unfit("shop", JID)
    assert found is not None
    assert found[0] == "unpaired"
    assert "auth_creds was deleted" in found[1]
    assert shop.run("SELECT count(*) FROM whatsmeow_device") == [(0,)]
    shop.link(OTHER)
    assert shop.creds("shop")["me"]["id"] == OTHER


async def test_no_login_anywhere_is_unpaired(logins: LoginStore) -> None:
    """Neither the store nor the mirror has it: opening such a device would end the library's process."""
    assert (await Logins(logins, STORE_VERSION, _no_tables).unfit("shop", JID) or ("",))[0] == "unpaired"


async def test_a_mirror_that_was_altered_is_put_right(shop: Store, logins: LoginStore) -> None:
    """`check` names what differs; the next opening makes the mirror what the store is."""
    for number in range(3):
        shop.put("sessions", JID, f"{number}:1", RECORD)
    shop.run("UPDATE auth_keys SET value = 'x' WHERE key = 'session-0.1'")
    shop.run("DELETE FROM auth_keys WHERE key = 'session-1.1'")
    shop.run("INSERT INTO auth_keys (tenant_id, key, value) VALUES ('shop', 'session-9.9', '{}')")
    shop.run('UPDATE auth_creds SET data = \'{"format" : "whatsmeow"}\'')
    assert await logins.differences("shop") == [
        (None, "different"),
        ("session-0.1", "different"),
        ("session-1.1", "missing"),
        ("session-9.9", "too_many"),
    ]
    assert await logins.fitness("shop", JID) == "ready"
    assert await logins.differences("shop") == []


async def test_triggers_that_an_upgrade_dropped_come_back(shop: Store, logins: LoginStore) -> None:
    """A table that was made anew has none: they are placed, what was missed is filled in."""
    shop.run('DROP TRIGGER "Mirror_v1" ON whatsmeow_sessions')
    shop.run("ALTER TABLE whatsmeow_pre_keys DISABLE TRIGGER ALL")
    shop.put("sessions", JID, "1:1", RECORD)
    shop.put("pre_keys", JID, 1, b"p" * 32, False)
    assert sorted(await logins.untriggered()) == ["pre_keys", "sessions"]
    assert await Logins(logins, STORE_VERSION, _no_tables).unfit("shop", JID) is None
    assert await logins.untriggered() == []
    assert sorted(shop.mirror("shop")) == ["pre-key-1", "session-1.1"]
    shop.put("sessions", JID, "2:1", RECORD)
    assert "session-2.1" in shop.mirror("shop")


async def test_a_login_of_before_the_mirror_is_taken_in(url: str, logins: LoginStore) -> None:
    """Its device has no owner in wa_devices yet: the first opening makes it its tenant's, and mirrors all of it."""
    Store(url, None).link(JID)
    Store(url, None).put("sessions", JID, "1:1", RECORD)
    assert await logins.fitness("shop", JID) == "ready"
    assert list(Store(url, None).mirror("shop")) == ["session-1.1"]


async def test_after_a_restore_conversations_begin_anew(shop: Store, logins: LoginStore) -> None:
    """Another life of PostgreSQL: our own ratchets go, in chats and in groups; what others made for us stays."""
    shop.put("sessions", JID, "2:1", RECORD)
    for sender in ("100_1:7", "628111111111:7", "200_1:3"):
        shop.put("sender_keys", JID, "1203@g.us", sender, RECORD)
    shop.put("pre_keys", JID, 1, b"p" * 32, False)
    assert await logins.fitness("shop", JID) == "ready"
    shop.run("UPDATE wa_devices SET epoch = 'another'")
    assert await logins.fitness("shop", JID) == "fresh"
    assert sorted(shop.mirror("shop")) == ["pre-key-1", "sender-key-1203@g.us::200_1::3"]
    shop.put("sessions", JID, "2:1", RECORD)
    assert await logins.fitness("shop", JID) == "ready"
    assert shop.run("SELECT count(*) FROM whatsmeow_sessions") == [(1,)]


async def test_a_copied_database_is_another_life(postgres: PostgresServer, shop: Store) -> None:
    """What pg_restore makes, even on the same server, is not taken for the database that it is a copy of."""
    with postgres.database(urlsplit(shop.url).path.removeprefix("/")) as copy:
        database = await Database.open(copy, **PATIENT)
        assert await LoginStore(database).fitness("shop", JID) == "fresh"
        await database.close()


async def test_rows_that_came_alone_are_a_login(shop: Store, logins: LoginStore) -> None:
    """auth_creds and auth_keys are all that a new machine needs: the session is bound, restored, and begins afresh; one
    whose device another tenant has, or whose creds are damaged, is not."""
    shop.put("sessions", JID, "1:1", RECORD)
    shop.put("pre_keys", JID, 3, b"p" * 32, True)
    creds, keys = _as_read(shop, "shop")
    drop_login(shop)
    for tenant in ("shop", "thief", "broken"):
        shop.run("INSERT INTO api_keys (api_key, tenant_id) VALUES (%s, %s)", (f"k-{tenant}", tenant))
    for tenant, data in (("shop", creds), ("thief", creds), ("broken", '{"format" : "whatsmeow", "me":{}}')):
        shop.run("INSERT INTO auth_creds (tenant_id, data) VALUES (%s, %s)", (tenant, data))
    for key, value in keys:
        shop.run("INSERT INTO auth_keys (tenant_id, key, value) VALUES ('shop', %s, %s)", (key, value))
    await bind_logins(logins)
    assert shop.run("SELECT tenant_id, jid, number FROM sessions") == [("shop", JID, "628111111111")]
    assert await Logins(logins, STORE_VERSION, _no_tables).unfit("shop", JID) is None
    assert shop.run("SELECT jid, lid FROM whatsmeow_device") == [(JID, LID)]
    assert sorted(shop.mirror("shop")) == ["pre-key-3"]


async def test_a_login_knows_that_it_is_of_a_sandbox(shop: Store, logins: LoginStore) -> None:
    """auth_creds says so from the moment at which the session knows, mirror and store agree all the while, and what
    came to a new machine is never opened at the real WhatsApp."""
    shop.run("INSERT INTO api_keys (tenant_id, api_key) VALUES ('shop', 'sha256:x')")
    shop.run("INSERT INTO sessions (tenant_id) VALUES ('shop')")
    assert "sandbox" not in shop.creds("shop")
    shop.run("UPDATE sessions SET jid = %s, sandbox = true", (JID,))
    assert shop.creds("shop")["sandbox"] is True
    shop.link(JID, push_name="Another")
    assert (shop.creds("shop")["sandbox"], shop.creds("shop")["me"]["name"]) == (True, "Another")
    assert shop.differences("shop") == []
    [(data,)] = shop.run("SELECT data FROM auth_creds")
    assert data.startswith('{"format" : "whatsmeow"')
    for sandbox, creds in ((True, data), (False, data.replace(', "sandbox" : true', ""))):
        shop.run("DELETE FROM whatsmeow_device")
        shop.run("DELETE FROM sessions")
        shop.run("INSERT INTO auth_creds (tenant_id, data) VALUES ('shop', %s)", (creds,))
        await bind_logins(logins)
        assert shop.run("SELECT jid, sandbox FROM sessions") == [(JID, sandbox)]
        assert await Logins(logins, STORE_VERSION, _no_tables).unfit("shop", JID) is None
        assert shop.differences("shop") == []


def drop_login(store: Store) -> None:
    store.run("DELETE FROM whatsmeow_device")
    assert store.run("SELECT count(*) FROM auth_keys") == [(0,)]


@pytest.mark.parametrize("creds", [None, "", "{", "[]", '{"format":"baileys"}', '{"format":"whatsmeow","me":7}'])
def test_creds_of_no_use_are_named(creds: str | None) -> None:
    """Whatever stands there, it is Damaged with a code and a path, and no other error."""
    with pytest.raises(Damaged):
        read_mirror(creds, [])


async def test_a_pooler_is_refused(open_database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of a connection that do not arrive are a CommandError that says what to do, before anything is made."""

    async def through_pooler(url: str, *, settings: Any, **rest: Any) -> Any:
        return await connect(url, settings={}, **rest)

    monkeypatch.setattr("db.database.connect", through_pooler)
    database = await open_database()
    with pytest.raises(CommandError, match="pooler"):
        await migrate(database)
    assert await database.fetch_one("SELECT to_regclass('gapura_migrations')") == (None,)


async def test_a_pooler_that_takes_no_settings_is_called_one() -> None:
    """PgBouncer as it comes refuses a connection with settings, in words that say neither what it is nor what to do."""
    error = b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0"

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(4))
        if size == 8:  # it asks for TLS first
            await reader.readexactly(4)
            writer.write(b"N")
            size = int.from_bytes(await reader.readexactly(4))
        await reader.readexactly(size - 4)
        writer.write(b"E" + (len(error) + 4).to_bytes(4) + error)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        url = f"postgres://a:b@127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        with pytest.raises(DatabaseUnavailable, match=r"a pooler .* give the address of PostgreSQL itself"):
            await connect(url, settings={}, connect_timeout=30, client_timeout=30, application_name="test")
