"""Logins that outlive their machine: the real library's tables killed, dropped, turned back, deleted by hand."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from core.transport.whatsapp.database import library_dsn
from db.login_store import MIRRORED
from tests.db.whatsmeow_store import Store
from tests.wire.logins import disagreements, drop_store, talk
from tests.wire.town import until

if TYPE_CHECKING:
    from tests.wire.conftest import Wire
    from tests.wire.town import Town

TABLES = Path(__file__).parents[1] / "db" / "whatsmeow_tables.py"
SHOP, CAFE, BUDI, SITI = "628111111111", "628111111112", "628222222222", "628333333333"
ODD = "Toko 'Öl' & 100%;\\=+?#"


async def test_no_scan_after_a_kill_nor_without_the_store(town: Town) -> None:
    """50 messages each way, the gateway killed: connected, and the next can be read on both sides. Then without a
    table of whatsmeow's: the same, with no command."""
    await town.add("shop")
    await town.serve()
    await town.pair("shop", SHOP)
    budi, siti = town.sandbox.phone(BUDI, "Budi"), town.sandbox.phone(SITI, "Siti")
    await talk(town, ("shop", SHOP), budi, 50, "first")
    await talk(town, ("shop", SHOP), siti, 3, "hello")
    assert disagreements(town) == []
    assert town.query("SELECT data::json->>'format' FROM auth_creds") == [("whatsmeow",)]
    device = town.sandbox.devices(SHOP)

    await town.kill()
    await town.serve()
    await town.until_state("shop", "connected")
    await talk(town, ("shop", SHOP), budi, 5, "killed")

    await town.kill_and_wait()
    keys = town.query("SELECT key FROM auth_keys ORDER BY 1")
    drop_store(town)
    await budi.send(SHOP, "meanwhile")
    await town.serve()
    await town.until_state("shop", "connected")
    await talk(town, ("shop", SHOP), budi, 5, "restored")
    await talk(town, ("shop", SHOP), siti, 3, "restored too")
    assert town.query("SELECT count(*) FROM incoming_messages WHERE content = 'meanwhile'") == [(1,)]
    assert town.sandbox.devices(SHOP) == device
    assert {key for (key,) in keys if key.startswith(("session-", "identity-"))} <= {
        key for (key,) in town.query("SELECT key FROM auth_keys")
    }
    assert disagreements(town) == []


async def test_an_older_backup_loses_no_message(town: Town) -> None:
    """Everything that makes the login as it was 100 messages ago, in another life of PostgreSQL: conversations begin
    anew, and the next 20 in each direction arrive."""
    await town.add("shop")
    await town.serve()
    await town.pair("shop", SHOP)
    budi = town.sandbox.phone(BUDI, "Budi")
    await talk(town, ("shop", SHOP), budi, 3, "before")
    await town.stop()
    tables = ("sessions", "identity_keys", "pre_keys", "sender_keys")
    for table in tables:
        town.query(f"CREATE TABLE backup_{table} AS TABLE whatsmeow_{table}")
    await town.serve()
    await town.until_state("shop", "connected")
    await talk(town, ("shop", SHOP), budi, 50, "lost")
    await town.kill_and_wait()
    for table in tables:
        town.query(f"DELETE FROM whatsmeow_{table}")
        town.query(f"INSERT INTO whatsmeow_{table} SELECT * FROM backup_{table}")
    town.query("UPDATE wa_devices SET epoch = 'of the backup'")
    await town.serve()
    await town.until_state("shop", "connected")
    await talk(town, ("shop", SHOP), budi, 20, "after")
    assert disagreements(town) == []


async def test_two_tenants_keep_their_own(town: Town) -> None:
    """One contact of two tenants: nothing of one is in the other's rows. A row of
    auth_creds that is deleted unlinks that tenant's device while it is open, and nobody else's."""
    await town.add("shop")
    await town.add("cafe")
    await town.serve()
    await town.pair("shop", SHOP)
    await town.pair("cafe", CAFE)
    budi = town.sandbox.phone(BUDI, "Budi")
    await talk(town, ("shop", SHOP), budi, 2, "shop")
    await talk(town, ("cafe", CAFE), budi, 2, "cafe")
    owners = town.query("SELECT tenant_id, data::json->'me'->>'id' FROM auth_creds ORDER BY 1")
    assert [(tenant, jid.partition(":")[0]) for tenant, jid in owners] == [("cafe", CAFE), ("shop", SHOP)]
    sessions = town.query(
        "SELECT count(*), count(DISTINCT tenant_id), count(DISTINCT value) FROM auth_keys WHERE key LIKE %s",
        f"session-100{BUDI}%",
    )
    assert sessions == [(2, 2, 2)]

    since = (await town.state("cafe"))["since"]
    town.query("DELETE FROM auth_creds WHERE tenant_id = 'shop'")
    lost = await town.until_state("shop", "unpaired")
    assert "auth_creds was deleted" in lost["reason"]
    assert town.sandbox.devices(SHOP) == []
    assert town.query("SELECT tenant_id FROM auth_keys UNION SELECT tenant_id FROM wa_devices") == [("cafe",)]
    assert (await town.state("cafe"))["since"] == since
    town.query("UPDATE sessions SET asked_at = NULL")
    await town.pair("shop", SHOP)
    assert disagreements(town) == []


async def test_damaged_rows_stop_one_tenant(town: Town) -> None:
    """Without a store, creds that nobody can use: that tenant says which place is wrong; mended and reconnected it
    works, and the other was never disturbed. A deleted row, of a device that is open nowhere, asks for a new scan."""
    await town.add("shop")
    await town.add("cafe")
    await town.serve()
    await town.pair("shop", SHOP)
    await town.pair("cafe", CAFE)
    await town.stop()
    drop_store(town)
    ((whole,),) = town.query("SELECT data FROM auth_creds WHERE tenant_id = 'shop'")
    creds = json.loads(whole)
    creds["noiseKey"]["private"]["data"] = "AAAA"
    town.query("UPDATE auth_creds SET data = %s WHERE tenant_id = 'shop'", json.dumps(creds, separators=(", ", " : ")))
    await town.serve()
    await town.until_state("cafe", "connected")
    lost = await until(lambda: town.state("shop"), lambda now: "no use" in (now["reason"] or ""))
    assert lost["state"] == "disconnected"
    assert "bad_length: $.noiseKey.private" in lost["reason"]
    town.query("UPDATE auth_creds SET data = %s WHERE tenant_id = 'shop'", whole)
    assert (await town.ask("shop", "POST", "/api/reconnect"))[0] == 200
    await town.until_state("shop", "connected")

    await town.stop()
    drop_store(town)
    town.query("UPDATE auth_creds SET data = '{\"format\" : \"whatsmeow\"}' WHERE tenant_id = 'shop'")
    await town.serve()
    await until(lambda: town.state("shop"), lambda now: "no use" in (now["reason"] or ""))
    town.query("DELETE FROM auth_creds WHERE tenant_id = 'shop'")
    await town.until_state("shop", "unpaired")


async def scanned(town: Town, tenant: str, number: str) -> dict[str, Any]:
    """The session after a phone that is not wanted has scanned its code."""
    town.query("UPDATE sessions SET asked_at = NULL")
    before = (await town.state(tenant))["since"]
    await town.sandbox.scan(await town.qr(tenant), number, tenant)
    now: dict[str, Any] = await until(
        lambda: town.state(tenant), lambda now: now["state"] == "unpaired" and now["since"] != before
    )
    return now


async def test_a_number_that_is_not_this_tenants_is_refused(town: Town) -> None:
    """A number that another tenant has, and another number than before, are unlinked again, with the reason and without
    the other tenant's name; nothing of them stays. --force changes the number."""
    await town.add("shop")
    await town.add("rival")
    await town.serve()
    await town.pair("shop", SHOP)
    since = (await town.state("shop"))["since"]
    refused = await scanned(town, "rival", SHOP)
    assert "linked to another tenant" in refused["reason"]
    assert "shop" not in refused["reason"]
    assert len(town.sandbox.devices(SHOP)) == 1
    assert (
        town.query("SELECT tenant_id FROM auth_creds") == town.query("SELECT tenant_id FROM wa_devices") == [("shop",)]
    )
    assert town.query("SELECT count(*) FROM whatsmeow_device") == [(1,)]
    assert (await town.state("shop"))["since"] == since

    await town.ask("shop", "POST", "/api/logout")
    await town.until_state("shop", "logged_out")
    refused = await scanned(town, "shop", CAFE)
    assert "not the number of before" in refused["reason"]
    assert town.sandbox.devices(CAFE) == []
    assert town.query("SELECT tenant_id FROM auth_creds") == []

    town.query("UPDATE sessions SET asked_at = NULL")
    pairing = asyncio.create_task(
        asyncio.to_thread(town.installation.run, "tenant", "pair", "shop", "--force", "--json")
    )
    await town.until_state("shop", "pairing")
    await town.sandbox.scan(await town.qr("shop"), CAFE, "shop")
    await town.until_state("shop", "connected")
    assert (await pairing).returncode == 0
    assert town.query("SELECT tenant_id, number FROM sessions WHERE jid IS NOT NULL") == [("shop", CAFE)]
    town.query("UPDATE sessions SET asked_at = NULL")
    await town.pair("rival", SHOP)


@pytest.mark.parametrize("tenant", [ODD, "x" * 100, "a b"])
async def test_the_tenant_travels_with_each_connection(wire: Wire, database_url: str, tenant: str) -> None:
    """An id of the old gateway with characters that a URL, a SQL text and lib/pq read as something else arrives, so
    that a login is mirrored from its first row on."""
    await asyncio.to_thread(subprocess.run, [sys.executable, str(TABLES), database_url], check=True, timeout=120)
    store = Store(database_url, None)
    for table in MIRRORED:
        store.run("SELECT wa_install_v1(%s)", (table,))
    wire.dsn = library_dsn(database_url, tenant)
    process = await wire.process()
    jid = await wire.pair(process, "any", SHOP)
    assert store.run("SELECT tenant_id, jid FROM wa_devices") == [(tenant, jid)]
    assert store.creds(tenant)["me"]["id"] == jid
    assert store.differences(tenant) == []


async def test_an_idle_session_holds_no_connection(wire: Wire, database_url: str) -> None:
    """PostgreSQL ends connections of the library's that nobody uses, and what is said afterwards, either way, arrives:
    nothing is lost with the connection, again and again."""
    wire.dsn = library_dsn(database_url, "shop", idle=0.3)
    process = await wire.process()
    await wire.pair(process, "shop", SHOP)
    budi = wire.sandbox.phone(BUDI, "Budi")
    held = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'gapura-whatsapp' AND datname = current_database()"
    )
    for number in range(3):
        await until(lambda: Store(database_url, None).run(held), lambda rows: rows == [(0,)])
        await process.ask("send", "shop", to=BUDI, text=f"to {number}")
        assert (await budi.next(30)).text == f"to {number}"
        await until(lambda: Store(database_url, None).run(held), lambda rows: rows == [(0,)])
        await budi.send(SHOP, f"from {number}")
        assert (await process.event("Received", "shop", skip=number))["content"] == f"from {number}"
