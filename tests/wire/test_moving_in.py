"""A login that moved through the files of the old gateway, on the wire with the real neonize."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2

import db.import_store
from tests.wire.town import built, until

if TYPE_CHECKING:
    from tests.conftest import PostgresServer
    from tests.wire.conftest import Wire
    from tests.wire.town import Town

SCHEMA = Path(db.import_store.__file__).parent / "whatsmeow" / "v15.sql"

CATALOG = """
SELECT c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       pg_get_expr(d.adbin, d.adrelid)
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
 WHERE c.relname LIKE 'whatsmeow%' AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT conrelid::regclass::text, 0, conname, pg_get_constraintdef(oid), convalidated, NULL FROM pg_constraint
 WHERE conrelid::regclass::text LIKE 'whatsmeow%' AND contype <> 'n'
UNION ALL
SELECT tablename, -1, indexname, indexdef, true, NULL FROM pg_indexes WHERE tablename LIKE 'whatsmeow%'
UNION ALL
SELECT 'whatsmeow_version', -2, version::text, compat::text, true, NULL FROM whatsmeow_version
ORDER BY 1, 2, 3
"""


def catalog(url: str, *first: str) -> list[Any]:
    """What whatsmeow's tables look like, after these statements."""
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            for statement in first:
                cursor.execute(statement)
            cursor.execute(CATALOG)
            return list(cursor.fetchall())
    finally:
        connection.close()


async def test_the_tables_that_a_moved_login_needs_are_those_that_neonize_makes(
    wire: Wire, empty_database_url: str
) -> None:
    """Column by column, with checks, keys, indexes and the version by which whatsmeow leaves them alone. When neonize
    grows new ones, this fails, and db/whatsmeow has to follow."""
    process = await wire.process()
    await process.ask("open", "a")
    await process.event("QrShown", "a")
    made = catalog(wire.dsn)
    assert len({row[0] for row in made}) == 17
    assert catalog(empty_database_url, SCHEMA.read_text("utf-8")) == made


async def test_a_login_moves_through_a_folder_and_reads_what_was_sent_meanwhile(
    town: Town, postgres: PostgresServer, template_database: str, tmp_path: Path
) -> None:
    """Out of one gateway in Baileys' own form, into another one's database: no scan, the messages of the time between
    decrypt, and both sides go on; strangers reach it by its one-time keys."""
    shop = "628111111111"
    await town.add("shop")
    await town.serve()
    await town.pair("shop", shop)
    budi, siti = (town.sandbox.phone(number, name) for number, name in (("628222222222", "B"), ("628333333333", "S")))
    await budi.send(shop, "before")
    await until(lambda: contents(town), lambda seen: "before" in seen)
    await town.send("shop", budi.number, "answered", wait=20)
    assert (await budi.next()).text == "answered"
    assert await town.stop() == 0
    folder = tmp_path / "auth_info" / "moved"
    exported = await asyncio.to_thread(town.installation.answer, "export", "auth", "shop", str(folder))
    assert exported["skipped"] == []
    for number in range(3):
        await budi.send(shop, f"meanwhile {number}")
    await siti.send(shop, "hello from a stranger")
    with postgres.database(template_database) as url:
        async with built(town.sandbox, tmp_path / "second", url) as second:
            await second.add("moved")
            told = await asyncio.to_thread(second.installation.answer, "import", "auth", str(folder.parent))
            assert [line["tenant"] for line in told["done"]] == ["moved"]
            # What moves in is taken for WhatsApp's own.
            second.query("UPDATE sessions SET sandbox = true")
            await second.serve()
            await second.until_state("moved", "connected")
            expected = {"meanwhile 0", "meanwhile 1", "meanwhile 2", "hello from a stranger"}
            await until(lambda: contents(second), lambda seen: expected <= set(seen))
            for phone in (budi, siti):
                await second.send("moved", phone.number, f"to {phone.number}", wait=20)
                assert (await phone.next()).text == f"to {phone.number}"
            await siti.send(shop, "again")
            await until(lambda: contents(second), lambda seen: "again" in seen)
            assert sorted(contents(second)) == sorted({*expected, "again"})
            assert second.query("SELECT connected_at IS NOT NULL FROM moved_in") == [(True,)]
            assert await second.stop() == 0


def contents(town: Town) -> list[str]:
    """What came in."""
    return [row[0] for row in town.query("SELECT content FROM incoming_messages")]
