"""What is deleted when its time is over, and what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db import store as store_room
from db.store import Store

if TYPE_CHECKING:
    import pytest

    from db.database import Database

DAYS = "INSERT INTO daily_limits (tenant_id, phone_number, date, count) SELECT 'shop', '628' || n, current_date - n, 1"


async def test_counters_of_past_days_go_after_the_days_they_are_kept(db: Database) -> None:
    """Those of the last seven days, of today and of days to come stay."""
    await db.execute(f"{DAYS} FROM generate_series(-2, 20) n")
    assert await Store(db).forget(7) == 13
    left = await db.fetch("SELECT current_date - date FROM daily_limits ORDER BY 1")
    assert [row[0] for row in left] == list(range(-2, 8))
    assert await Store(db).forget(7) == 0


async def test_many_counters_are_deleted_some_at_a_time(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no statement takes longer than statements may; all are deleted all the same."""
    monkeypatch.setattr(store_room, "_AT_A_TIME", 4)
    await db.execute(f"{DAYS} FROM generate_series(8, 20) n")
    assert await Store(db).forget(7) == 13
    assert await db.fetch("SELECT FROM daily_limits") == []
