"""The original gateway's tables: its documented statements run as written, and its database is taken over in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from db.migrate import FOLDER, migrate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from db.database import Database

    Open = Callable[..., Awaitable[Database]]

# Verbatim from the original's documentation, trailing blanks and all.
KEY = """SELECT tenant_id FROM api_keys WHERE api_key = 'sk_xxx...';"""
WHITELIST = """SELECT phone_number FROM whitelist WHERE tenant_id = 'pelanggan_a';"""
TODAY = (
    "SELECT count FROM daily_limits \n"
    "WHERE tenant_id = 'pelanggan_a' \n"
    "  AND phone_number = '628123456789' \n"
    "  AND date = CURRENT_DATE;"
)
CLEANUP = """DELETE FROM daily_limits WHERE date < CURRENT_DATE - INTERVAL '7 days';"""

TABLES = ("api_keys", "whitelist", "daily_limits", "auth_creds", "auth_keys")

ROWS = """
INSERT INTO api_keys (api_key, tenant_id) VALUES ('sk_xxx...', 'pelanggan_a'), ('sk_yyy...', 'pelanggan_b');
INSERT INTO whitelist (tenant_id, phone_number) VALUES
  ('pelanggan_a', '628111'), ('pelanggan_a', '628222'), ('pelanggan_b', '628333');
INSERT INTO daily_limits (tenant_id, phone_number, date, count) VALUES
  ('pelanggan_a', '628123456789', CURRENT_DATE, 2),
  ('pelanggan_a', '628123456789', CURRENT_DATE - 7, 3),
  ('pelanggan_a', '628123456789', CURRENT_DATE - 8, 3),
  ('pelanggan_b', '628123456789', CURRENT_DATE, 1);
INSERT INTO auth_creds (tenant_id, data) VALUES ('pelanggan_a', '{"noiseKey": {}}');
INSERT INTO auth_keys (tenant_id, key, value) VALUES ('pelanggan_a', 'pre-key-1', '{}');
"""


@pytest.fixture(params=["new", "taken over"])
async def seeded(open_database: Open, request: pytest.FixtureRequest) -> Database:
    """Rows as the original wrote them, in our database, and in its own that we migrated afterwards."""
    db = await open_database()
    if request.param == "new":
        await migrate(db)
        await db.execute(ROWS)
    else:
        await db.execute((FOLDER / "0001_seed.sql").read_text().replace("IF NOT EXISTS ", ""))
        await db.execute(ROWS)
        await migrate(db)
    return db


async def test_check_an_api_key(seeded: Database) -> None:
    """The key alone chooses the tenant."""
    assert await seeded.fetch(KEY) == [("pelanggan_a",)]


async def test_a_tenants_whitelist(seeded: Database) -> None:
    """A tenant sees its own numbers and no others."""
    assert sorted(await seeded.fetch(WHITELIST)) == [("628111",), ("628222",)]


async def test_todays_counter(seeded: Database) -> None:
    """One tenant, one number, one day: one counter."""
    assert await seeded.fetch(TODAY) == [(2,)]


async def test_cleaning_up_old_counters(seeded: Database) -> None:
    """Counters older than seven days go; that of seven days ago and today's stay."""
    assert await seeded.execute(CLEANUP) == 1
    assert await seeded.fetch_one("SELECT count(*) FROM daily_limits") == (3,)


async def test_what_the_original_wrote_is_still_there(seeded: Database) -> None:
    """Migrating loses no row of the five tables."""
    counts = [(await seeded.fetch(f"SELECT count(*) FROM {table}"))[0][0] for table in TABLES]
    assert counts == [2, 3, 4, 1, 1]


async def test_the_tables_have_the_originals_columns_and_no_more(open_database: Open) -> None:
    """The columns of the five tables, in order, as documented; later migrations add none."""
    db = await open_database()
    await migrate(db)
    rows = await db.fetch(
        "SELECT table_name::text, string_agg(column_name, ' ' ORDER BY ordinal_position)"
        " FROM information_schema.columns WHERE table_schema = 'public' AND table_name = ANY(%s) GROUP BY 1",
        (list(TABLES),),
    )
    assert dict(rows) == {
        "api_keys": "id api_key tenant_id created_at updated_at",
        "whitelist": "id tenant_id phone_number created_at",
        "daily_limits": "id tenant_id phone_number date count created_at updated_at",
        "auth_creds": "tenant_id data updated_at",
        "auth_keys": "id tenant_id key value updated_at",
    }


async def test_one_row_per_tenant_number_and_day(seeded: Database) -> None:
    """The upsert that the original relied on finds its constraint."""
    upsert = (
        "INSERT INTO daily_limits (tenant_id, phone_number, date, count)"
        " VALUES ('pelanggan_a', '628123456789', CURRENT_DATE, 1)"
        " ON CONFLICT (tenant_id, phone_number, date) DO UPDATE SET count = daily_limits.count + 1 RETURNING count"
    )
    assert await seeded.fetch(upsert) == [(3,)]
