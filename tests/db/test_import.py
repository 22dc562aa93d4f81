"""A login in the database: all of it or nothing, with a copy of what it replaced, and never over a living one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from core.baileys.old_gateway import marked, mirrored_device
from core.errors import Conflict, StatementRejected
from core.whatsmeow_rows import LidRow, Rows
from db.import_store import ImportStore, Moved
from db.login_store import LoginStore
from db.session_store import SessionStore
from tests.baileys_vectors import creds_and_keys, login

if TYPE_CHECKING:
    from db.database import Database

LOGIN = login("b").rows
ROWS = replace(LOGIN, app_state_macs=tuple(sorted(LOGIN.app_state_macs, key=lambda row: (row.name, row.index_mac))))
JID = ROWS.device.jid
TENANT = "shop"


def as_device(jid: str, **other: Any) -> Rows:
    """The same login under another address."""
    return replace(ROWS, device=replace(ROWS.device, jid=jid, **other))


async def legacy(db: Database, tenant: str = TENANT) -> None:
    """The rows of the old gateway."""
    creds, keys = creds_and_keys("b")
    await db.execute("INSERT INTO auth_creds (tenant_id, data) VALUES (%s, %s)", (tenant, creds))
    for key, value in keys.items():
        await db.execute("INSERT INTO auth_keys (tenant_id, key, value) VALUES (%s, %s, %s)", (tenant, key, value))


async def everything(db: Database) -> dict[str, list[Any]]:
    """Every row of every table that a login could touch."""
    tables = await db.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"
    )
    return {name: await db.fetch(f"SELECT to_jsonb(x) FROM {name} x ORDER BY x::text") for (name,) in tables}


async def in_hand(db: Database, tenant: str, process: int) -> None:
    """A living gateway has the session. (Its sign of life ends with the connection.)"""
    await db.execute(
        "INSERT INTO sessions (tenant_id, process, leased_until) VALUES (%s, %s, now() + interval '1 hour')"
        " ON CONFLICT (tenant_id) DO UPDATE SET process = EXCLUDED.process, leased_until = EXCLUDED.leased_until",
        (tenant, process),
    )


async def test_a_login_is_written_whole_and_bound(db: Database) -> None:
    """All rows come back as they went in, whatsmeow's tables are made for it, and the session is the tenant's."""
    store = ImportStore(db)
    assert isinstance(await store.move_in(TENANT, ROWS, '{"creds": {}}', source="folder"), Moved)
    assert await store.login(TENANT) == (ROWS, '{"creds": {}}')
    assert await SessionStore(db).device_exists(JID)
    [row] = await db.fetch("SELECT state, jid, lid, push_name, sandbox, process FROM sessions WHERE tenant_id = 'shop'")
    assert row == ("disconnected", JID, ROWS.device.lid, "Toko A", False, None)
    [session] = await SessionStore(db).sessions(TENANT)
    assert not session.held


async def test_a_second_time_changes_nothing(db: Database) -> None:
    """The living ratchet is never overwritten by the old one, whatever stands in the old rows."""
    store = ImportStore(db)
    await store.move_in(TENANT, ROWS, "{}", source="folder")
    await db.execute("UPDATE whatsmeow_sessions SET session = 'newer'")
    before = await everything(db)
    assert await store.move_in(TENANT, ROWS, "{}", source="folder") is None
    assert await everything(db) == before


async def test_a_dry_run_leaves_no_trace(db: Database) -> None:
    """Not even whatsmeow's tables; but it refuses what the real run would refuse."""
    store = ImportStore(db)
    await legacy(db)
    before = await everything(db)
    assert await store.move_in(TENANT, ROWS, "{}", source="rows", mark=lambda _: "x", dry_run=True)
    assert await everything(db) == before
    await store.move_in("other", as_device("6281211110007:9@s.whatsapp.net"), "{}", source="folder")
    with pytest.raises(Conflict):
        await store.move_in(TENANT, ROWS, "{}", source="rows", dry_run=True)


async def test_a_login_that_fails_half_way_leaves_no_trace(db: Database) -> None:
    """One transaction: the last row decides over the first."""
    await legacy(db)
    before = await everything(db)
    broken = replace(ROWS, lids=(*ROWS.lids, LidRow("1\0", "2")))
    with pytest.raises(StatementRejected):
        await ImportStore(db).move_in(TENANT, broken, "{}", source="rows", mark=lambda _: "x")
    assert await everything(db) == before


async def test_what_is_replaced_is_kept(db: Database) -> None:
    """The old gateway's rows as they were, also when they stood under another spelling of the tenant, and what was left
    of the same device in whatsmeow's tables."""
    store = ImportStore(db)
    await legacy(db, "Shop")
    await store.move_in("first", ROWS, "{}", source="folder")
    await db.execute("DELETE FROM sessions")
    moved = await store.move_in(TENANT, ROWS, "{}", source="rows", legacy="Shop")
    assert moved
    creds, keys = creds_and_keys("b")
    batch = (moved.batch,)
    assert await db.fetch("SELECT tenant_id, data FROM gapura_backup_auth_creds WHERE batch = %s", batch) == [
        ("Shop", creds)
    ]
    rows = await db.fetch("SELECT key, value FROM gapura_backup_auth_keys WHERE batch = %s", batch)
    assert dict(rows) == keys
    kept = dict(
        await db.fetch(
            "SELECT table_name, count(*) FROM gapura_backup_whatsmeow WHERE batch = %s GROUP BY 1", batch
        )
    )  # fmt: skip
    assert kept["whatsmeow_device"] == 1
    assert kept["whatsmeow_sessions"] == len(ROWS.sessions)
    assert kept["whatsmeow_privacy_tokens"] == 1
    assert moved.replaced == 1 + len(keys) + sum(kept.values())
    assert await store.login(TENANT) == (ROWS, "{}")


async def test_old_rows_stay_and_say_so_while_nothing_keeps_them_in_step(db: Database) -> None:
    """Whoever keeps them in step later finds them marked; all but the mark is as it was."""
    await legacy(db)
    keys = await db.fetch("SELECT * FROM auth_keys ORDER BY id")
    moved = await ImportStore(db).move_in(TENANT, ROWS, "{}", source="rows", mark=lambda text: text + " ")
    assert moved
    assert not moved.mirrored
    assert await db.fetch("SELECT data FROM auth_creds") == [(creds_and_keys("b")[0] + " ",)]
    assert await db.fetch("SELECT * FROM auth_keys ORDER BY id") == keys


async def test_old_rows_give_way_to_the_mirror(db: Database) -> None:
    """Where triggers keep auth_creds and auth_keys in step, they write the new rows in the same transaction; of the old
    ones the copy is left."""
    store, logins = ImportStore(db), LoginStore(db)
    await store.move_in("first", as_device("6285500000000:3@s.whatsapp.net"), "{}", source="folder")
    await logins.install()
    await legacy(db)
    moved = await store.move_in(TENANT, ROWS, "{}", source="rows", mark=lambda _: "marked")
    assert moved
    assert moved.mirrored
    assert await logins.differences(TENANT) == []
    assert (TENANT, JID, True) in await logins.devices()
    [(data,)] = await db.fetch("SELECT data FROM auth_creds WHERE tenant_id = 'shop'")
    assert mirrored_device(data) == JID
    assert await db.fetch("SELECT * FROM auth_replaced") == []
    [(tenant,)] = await db.fetch("SELECT coalesce(current_setting('wa.tenant', true), '')")
    assert tenant == ""


async def test_a_mirror_that_begins_later_takes_the_old_rows_away(db: Database) -> None:
    """When the gateway opens the session: what it finds is set aside, and mirror and store agree."""
    store, logins = ImportStore(db), LoginStore(db)
    await legacy(db)
    await store.move_in(TENANT, ROWS, "{}", source="rows", mark=lambda text: marked(text, "now"))
    await logins.install()
    assert await logins.fitness(TENANT, JID) == "ready"
    assert await logins.differences(TENANT) == []
    assert await store.login(TENANT) == (ROWS, "{}")


async def test_an_old_login_never_replaces_the_mirror(db: Database) -> None:
    """When whatsmeow's tables are gone, auth_creds has the newer login: it is restored from there, and old files of it
    are passed over, those of another device refused."""
    store = ImportStore(db)
    await store.move_in("first", as_device("6285500000000:3@s.whatsapp.net"), "{}", source="folder")
    await LoginStore(db).install()
    await store.move_in(TENANT, ROWS, "{}", source="folder")
    await db.execute("DROP TABLE whatsmeow_device CASCADE")
    for jid in (JID, None):
        await db.execute("UPDATE sessions SET jid = %s WHERE tenant_id = 'shop'", (jid,))
        before = await everything(db)
        assert await store.move_in(TENANT, ROWS, "{}", source="folder", mirror_of=mirrored_device) is None
        other = as_device("6281211110007:9@s.whatsapp.net")
        with pytest.raises(Conflict) as caught:
            await store.move_in(TENANT, other, "{}", source="folder", mirror_of=mirrored_device)
        assert caught.value.code == "paired_already"
        assert await everything(db) == before


@pytest.mark.parametrize("same", [True, False])
async def test_a_session_in_a_living_gateways_hands_is_refused(db: Database, same: bool) -> None:
    """Also when it has no device yet: it may be pairing one. A dead gateway's is free."""
    process = 4711
    [(sign_of_life,)] = await db.fetch("SELECT process_class()")
    tenant = TENANT if same else "other"
    await in_hand(db, TENANT, process)
    async with db.transaction() as tx:
        await tx.fetch("SELECT pg_advisory_xact_lock(%s, %s)", (sign_of_life, process))
        if same:
            with pytest.raises(Conflict) as caught:
                await ImportStore(db).move_in(tenant, ROWS, "{}", source="folder")
            assert caught.value.code == "session_held"
        else:
            assert await ImportStore(db).move_in(tenant, ROWS, "{}", source="folder")
        assert await ImportStore(db).is_held(TENANT)
    assert not await ImportStore(db).is_held(TENANT)
    if same:
        assert await ImportStore(db).move_in(tenant, ROWS, "{}", source="folder")


async def test_a_number_of_another_tenant_is_refused_without_a_name(db: Database) -> None:
    """Also as another device of the number."""
    store = ImportStore(db)
    await store.move_in("mysterious", as_device("6281211110007:9@s.whatsapp.net"), "{}", source="folder")
    with pytest.raises(Conflict) as caught:
        await store.move_in(TENANT, ROWS, "{}", source="folder")
    assert caught.value.code == "number_taken"
    assert "mysterious" not in str(caught.value)
    assert await store.login(TENANT) is None


async def test_a_tenant_that_is_linked_to_another_device_is_refused(db: Database) -> None:
    """Until that device is gone."""
    store = ImportStore(db)
    await store.move_in(TENANT, as_device("6285500000000:3@s.whatsapp.net"), "{}", source="folder")
    with pytest.raises(Conflict) as caught:
        await store.move_in(TENANT, ROWS, "{}", source="folder")
    assert caught.value.code == "paired_already"
    await db.execute("DELETE FROM whatsmeow_device")
    assert await store.move_in(TENANT, ROWS, "{}", source="folder")


async def test_one_number_for_two_tenants_at_once(db: Database) -> None:
    """One of them gets it, and it has all rows."""
    store = ImportStore(db)
    moving = [store.move_in(f"tenant{at}", ROWS, "{}", source="folder") for at in range(4)]
    done = await asyncio.gather(*moving, return_exceptions=True)
    assert [isinstance(one, Moved) for one in done].count(True) == 1
    assert {one.code for one in done if isinstance(one, Conflict)} == {"number_taken"}
    [(winner,)] = await db.fetch("SELECT tenant_id FROM sessions WHERE jid IS NOT NULL")
    assert await store.login(winner) == (ROWS, "{}")


async def test_two_tenants_rows_never_mix(db: Database) -> None:
    """One group in both, one contact in both, and each reads back its own."""
    store = ImportStore(db)
    other = as_device("6285500000000:3@s.whatsapp.net", lid="99:3@lid", push_name="B")
    other = replace(other, sessions=ROWS.sessions[:2], pre_keys=(), lids=())
    await store.move_in(TENANT, ROWS, "{}", source="folder")
    await store.move_in("other", other, "{}", source="folder")
    mine, theirs = await store.login(TENANT), await store.login("other")
    assert mine
    assert theirs
    assert mine[0] == ROWS
    assert replace(theirs[0], lids=()) == other


async def test_what_living_sessions_know_of_people_stays(db: Database) -> None:
    """The map of hidden ids is everybody's: a login that comes cannot change it for the others."""
    store = ImportStore(db)
    await store.move_in("other", as_device("6285500000000:3@s.whatsapp.net"), "{}", source="folder")
    liar = replace(
        as_device("6285500000001:3@s.whatsapp.net"),
        lids=(LidRow("222233334444555", "666"), LidRow("777", "6286666666666")),
    )
    await store.move_in(TENANT, liar, "{}", source="folder")
    assert dict(await db.fetch("SELECT lid, pn FROM whatsmeow_lid_map")) == {row.lid: row.pn for row in ROWS.lids}


async def test_tables_of_another_version_are_refused(db: Database) -> None:
    """Newer ones that say they are compatible are not."""
    store = ImportStore(db)
    await store.move_in("other", as_device("6285500000000:3@s.whatsapp.net"), "{}", source="folder")
    for version, compat, fits in ((14, 8, False), (20, 16, False), (20, 15, True)):
        await db.execute("UPDATE whatsmeow_version SET version = %s, compat = %s", (version, compat))
        try:
            moved = await store.move_in(TENANT, ROWS, "{}", source="folder", dry_run=True)
        except Conflict as refusal:
            assert (fits, refusal.code) == (False, "store_version")
        else:
            assert fits
            assert moved


async def test_moved_in_means_connected(db: Database) -> None:
    """Nobody knows whether a login is good before WhatsApp has taken it; then the row says when."""
    await ImportStore(db).move_in(TENANT, ROWS, "{}", source="folder")
    assert await db.fetch("SELECT connected_at FROM moved_in") == [(None,)]
    for state in ("connecting", "connected"):
        await db.execute("UPDATE sessions SET state = %s", (state,))
    [(at,)] = await db.fetch("SELECT connected_at FROM moved_in")
    assert at is not None
    await db.execute("UPDATE sessions SET state = 'disconnected'")
    await db.execute("UPDATE sessions SET state = 'connected'")
    assert await db.fetch("SELECT connected_at FROM moved_in") == [(at,)]


async def test_a_large_login(db: Database) -> None:
    """More rows than one statement takes."""
    many = tuple(replace(ROWS.sessions[0], their_id=f"{number:015}_1:0") for number in range(1203))
    rows = replace(ROWS, sessions=many)
    await ImportStore(db).move_in(TENANT, rows, "{}", source="folder")
    assert await db.fetch("SELECT count(*) FROM whatsmeow_sessions") == [(1203,)]


async def test_no_login_without_a_device(db: Database) -> None:
    """Nor without whatsmeow's tables."""
    assert await ImportStore(db).login(TENANT) is None
    await ImportStore(db).move_in(TENANT, ROWS, "{}", source="folder")
    assert await ImportStore(db).login("other") is None


async def test_keys_of_the_old_gateway(db: Database) -> None:
    """A key or a tenant that exists stays as it is, and the answer says which."""
    store = ImportStore(db)
    assert await store.key_standing("a", "sha256:" + "0" * 64) is None
    assert await store.add_key("a", "sha256:" + "0" * 64, "sha256:" + "0" * 64) == "added"
    assert await store.add_key("a", "sha256:" + "0" * 64, "sha256:" + "0" * 64) == "known"
    assert await store.add_key("b", "sha256:" + "0" * 64, "sha256:" + "0" * 64) == "taken"
    assert await store.add_key("a", "sha256:" + "1" * 64, "sha256:" + "1" * 64) == "has_key"
    assert await db.fetch("SELECT tenant_id, api_key FROM api_keys") == [("a", "sha256:" + "0" * 64)]


async def test_numbers_of_the_old_whitelist(db: Database) -> None:
    """Those that are new; a dry run only tells."""
    store = ImportStore(db)
    assert await store.add_whitelist("a", ["62811", "62812"], dry_run=True) == {"62811", "62812"}
    assert await store.add_whitelist("a", ["62811"]) == {"62811"}
    assert await store.add_whitelist("a", ["62811", "62812"]) == {"62812"}
    assert await db.fetch("SELECT tenant_id, phone_number FROM whitelist ORDER BY 2") == [
        ("a", "62811"),
        ("a", "62812"),
    ]
